"""Decodes HEIC with libheif. The library is optional, and loaded for the first HEIC image."""

import io
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.formats.header import UnsupportedFormatError


class HeicError(Exception):
    """libheif cannot decode the image."""


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return the primary image, turned and cropped as the file states.

    Returns:
        Height x width x 3 or 4, uint8, BGR or BGRA.

    Raises:
        HeicError: libheif cannot decode the image.
        UnsupportedFormatError: The library is not installed.
    """
    library = _library()
    try:
        file = library.HeifFile(io.BytesIO(data), convert_hdr_to_8bit=True, bgr_mode=True)
        pixels = np.asarray(file[file.primary_index])
    except (ValueError, RuntimeError, OSError, SyntaxError, EOFError, IndexError) as error:
        raise HeicError(str(error)) from error
    if pixels.ndim == 2:  # noqa: PLR2004 - grey
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    return np.asarray(pixels, np.uint8)


def _library() -> Any:  # noqa: ANN401 - optional, so its types may be missing
    try:
        library = import_module("pillow_heif")
    except ImportError as error:
        raise UnsupportedFormatError(
            "HEIC, and pillow-heif is not installed. Install it, or save the photograph as JPEG"
        ) from error
    library.options.DECODE_THREADS = 1  # executors run one worker per core
    library.options.THUMBNAILS = library.options.DEPTH_IMAGES = library.options.AUX_IMAGES = False
    return library
