"""Bytes to pixels, or the reason why not.

Knows OpenCV and file formats; knows neither where the bytes come from nor what is computed from the pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.headers import MalformedHeaderError, read_header
from fruits_features.rejections import Reason, Rejected, Stage

# Executors run one Python worker a core; OpenCV's own threads would compete with them, and do not survive a fork.
cv2.setNumThreads(1)


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8] | Rejected:
    """Decode an image of any supported format: JPEG, PNG, WebP, BMP, TIFF, GIF (first frame).

    The format is told from the bytes, never from a name. EXIF orientation is applied, grey becomes RGB, 16 bits become
    8, palettes and CMYK are resolved.

    Args:
        data: the file's content.
        max_pixels: what has more pixels is rejected before it is decoded.

    Returns:
        Height x width x 3, uint8, RGB; or why there is none.

    >>> decode(b"hello", max_pixels=100).reason
    <Reason.NOT_AN_IMAGE: 'not_an_image'>
    """
    return _refusal(data, max_pixels) or _decode(data)


def _refusal(data: bytes, max_pixels: int) -> Rejected | None:
    """Judge a file by its header alone."""
    if not data:
        return _rejected(Reason.EMPTY, "The file has no bytes.")
    try:
        header = read_header(data)
    except MalformedHeaderError as error:
        return _rejected(Reason.UNDECODABLE, f"Malformed: {error}.")
    if header is None:
        return _rejected(Reason.NOT_AN_IMAGE, f"The file begins with {data[:8]!r}, like no supported format.")
    if header.width * header.height > max_pixels:
        found = f"{header.width} x {header.height} pixels"
        return _rejected(Reason.TOO_MANY_PIXELS, f"{found} are more than the limit of {max_pixels}.")
    if not header.complete:
        return _rejected(Reason.TRUNCATED, f"The {header.format} image goes on after the file's {len(data)} bytes.")
    return None


def _decode(data: bytes) -> NDArray[np.uint8] | Rejected:
    """Decode what the header let through."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        return _rejected(Reason.UNDECODABLE, f"OpenCV: {error.err}.")
    if pixels is None:
        return _rejected(Reason.UNDECODABLE, f"OpenCV cannot decode these {len(data)} bytes.")
    return np.asarray(pixels, np.uint8)


def _rejected(reason: Reason, detail: str) -> Rejected:
    return Rejected(Stage.DECODE, reason, detail)
