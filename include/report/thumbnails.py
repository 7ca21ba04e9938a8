"""Images to small pictures, damaged ones as far as they can be seen.

Runs in a process of its own (`include.report.pictures`), which loads no more than this: it starts in half a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fruits_features.contract.rejections import Rejected
from fruits_features.imaging.decode import decode
from fruits_features.imaging.headers import MalformedHeaderError, read_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 112
"""Of a picture's square, in pixels: more than it is shown at, for screens that have them."""
MOST_PIXELS = 25_000_000
"""What has more is not decoded."""
_QUALITY = 70
_END_OF_JPEG = b"\xff\xd9"


def thumbnail(data: bytes) -> bytes | None:
    """Make a small WebP of an image, damaged ones as far as they can be seen; `None` when there is nothing to see."""
    pixels = _decode(data)
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    return bytes(encoded)


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    try:
        header = read_header(data)
    except MalformedHeaderError:
        return None
    if header is None or max(header.width * header.height, header.tile_pixels) > MOST_PIXELS:
        return None
    pixels = decode(data, MOST_PIXELS)
    if not isinstance(pixels, Rejected):
        return pixels
    cut = header.format == "jpeg" and not header.complete
    try:
        shown = cv2.imdecode(np.frombuffer(data + _END_OF_JPEG * cut, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    return None if shown is None else np.asarray(shown, np.uint8)
