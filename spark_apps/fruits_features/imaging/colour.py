"""Converts decoded images to sRGB.

Phones write Display P3. Its numbers, taken for sRGB, give paler colours: a red of (220, 40, 30) becomes (202, 59, 43).
docs/measurements/constants.md contains the cost.
"""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fruits_features.imaging.limits import MAX_PROFILE_BYTES

_COLOUR_SPACE = slice(16, 20)  # of the header of a profile (ICC.1:2022, 7.2.6)
_BAND_ROWS = 256
"""Rows converted at once, so that the memory does not grow with the image: Pillow copies them twice."""
_SAME_LEVELS = 3
"""Largest difference of a profile that is treated as sRGB, in levels of 255."""
_GRID = np.stack(np.meshgrid(*[np.arange(0, 256, 17, dtype=np.uint8)] * 3, indexing="ij"), axis=-1).reshape(16, 256, 3)


def to_srgb(pixels: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    """Convert an image to sRGB.

    A profile for other than RGB values describes the values in the file and not the decoded ones, so it is ignored.
    A profile that cannot be read is treated as sRGB.

    Args:
        pixels: Height x width x 3, uint8, RGB. May be scaled.
        profile: ICC profile of the image; empty without one.

    Returns:
        Height x width x 3, uint8, RGB. The same array if nothing is to be converted.
    """
    if not profile or profile[_COLOUR_SPACE] != b"RGB " or len(profile) > MAX_PROFILE_BYTES:
        return pixels
    transform = _transform(profile)
    return pixels if transform is None else _convert(pixels, transform)


@lru_cache(maxsize=16)  # the photographs of a run come from few kinds of devices; the limit bounds the memory
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion from a profile to sRGB; `None` if it is not needed, or if the profile is invalid."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    difference = np.abs(_convert(_GRID, transform).astype(np.int16) - _GRID)
    return transform if difference.max() > _SAME_LEVELS else None


def _convert(pixels: NDArray[np.uint8], transform: ImageCms.ImageCmsTransform) -> NDArray[np.uint8]:
    converted = np.empty_like(pixels)
    for start in range(0, len(pixels), _BAND_ROWS):
        band = Image.fromarray(pixels[start : start + _BAND_ROWS])
        converted[start : start + _BAND_ROWS] = np.asarray(transform.apply_in_place(band))
    return converted
