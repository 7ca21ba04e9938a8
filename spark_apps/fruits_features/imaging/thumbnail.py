"""Makes small pictures of images, damaged ones as far as they can be decoded.

This module runs in subprocesses (`include.report.page.pictures`, `client.serve`). It imports little, so that they start
quickly.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.rejections import Rejected
from fruits_features.imaging.decode import decode, decode_accepted, exceeded_limit
from fruits_features.imaging.formats.header import Alpha, MalformedHeaderError, UnsupportedFormatError
from fruits_features.imaging.headers import read_header
from fruits_features.imaging.scaled_jpeg import Detail

SIDE = 112
"""Side of a picture's square in pixels, larger than on the pages for screens of high resolution."""
MAX_PIXELS = 25_000_000
"""Largest image in pixels. Larger images are not decoded."""
_QUALITY = 70
_DETAIL = Detail(longer=2 * SIDE)
_END_OF_JPEG = b"\xff\xd9"


def thumbnail(data: bytes, max_pixels: int = MAX_PIXELS) -> bytes | None:
    """Return a small WebP of an image, or `None` if nothing can be decoded. Damaged images are shown partly."""
    pixels = _decode(data, max_pixels)
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    return bytes(encoded)


def _decode(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    try:
        header = read_header(data)
    except (MalformedHeaderError, UnsupportedFormatError):
        return None
    if header is None or exceeded_limit(header, max_pixels):
        return None
    pixels = decode(data, max_pixels, _DETAIL)
    if not isinstance(pixels, Rejected):
        return pixels
    truncated = header.format == "jpeg" and not header.complete
    opaque = replace(header, alpha=Alpha.NONE)
    partial = decode_accepted(data + _END_OF_JPEG * truncated, opaque, _DETAIL)
    return None if isinstance(partial, Rejected) else partial
