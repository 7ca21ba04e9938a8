"""Bytes to pixels, or the reason why not.

Knows OpenCV and file formats; knows neither where the bytes come from nor what is computed from the pixels.
"""

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.imaging.headers import Alpha, Header, MalformedHeaderError, read_header, read_orientation

# Executors run one Python worker a core; OpenCV's own threads would compete with them, and do not survive a fork.
cv2.setNumThreads(1)
# What it complains of ends in quarantine; it need not be in every worker's log too.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_ORIENTATIONS = {  # of EXIF: whether to swap rows and columns, then which axes to turn round
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}
_BAND_ROWS = 256
"""How many rows are laid on white at a time: what that takes in memory does not grow with the image."""


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8] | Rejected:
    """Decode an image of any supported format: JPEG, PNG, WebP, BMP, TIFF, GIF (first frame).

    The format is told from the bytes, never from a name. EXIF orientation is applied, grey becomes RGB, 16 bits become
    8, palettes and CMYK are resolved. Of several frames or pages the first is taken. What is transparent shows white,
    like the background of a cut-out fruit, and not the arbitrary colour that lies hidden there.

    Args:
        data: the file's content.
        max_pixels: what has more pixels is rejected before it is decoded.

    Returns:
        Height x width x 3, uint8, RGB; or why there is none.

    >>> decode(b"hello", max_pixels=100).reason
    <Reason.NOT_AN_IMAGE: 'not_an_image'>
    """
    header = _read_header(data)
    if isinstance(header, Rejected):
        return header
    return _refusal(header, len(data), max_pixels) or _decode(data, header)


def _read_header(data: bytes) -> Header | Rejected:
    if not data:
        return _rejected(Reason.EMPTY, "The file has no bytes.")
    try:
        header = read_header(data)
    except MalformedHeaderError as error:
        return _rejected(Reason.UNDECODABLE, f"Malformed: {error}.")
    if header is None:
        return _rejected(Reason.NOT_AN_IMAGE, f"The file begins with {data[:8]!r}, like no supported format.")
    return header


def _refusal(header: Header, size: int, max_pixels: int) -> Rejected | None:
    """Judge a file by its header alone."""
    found = f"{header.width} x {header.height} pixels"
    if header.width * header.height > max_pixels:
        return _rejected(Reason.TOO_MANY_PIXELS, f"{found} are more than the limit of {max_pixels}.")
    if header.tile_pixels > max_pixels:
        tiles = f"{found} in tiles of {header.tile_pixels}"
        return _rejected(Reason.TOO_MANY_PIXELS, f"{tiles}, which are more than the limit of {max_pixels}.")
    if not header.complete:
        return _rejected(Reason.TRUNCATED, f"The {header.format} image goes on after the file's {size} bytes.")
    return None


def _decode(data: bytes, header: Header) -> NDArray[np.uint8] | Rejected:
    """Decode what the header let through."""
    encoded = np.frombuffer(data, np.uint8)
    try:
        if header.alpha is not Alpha.NONE:
            return _decode_on_white(encoded, header)
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        return _rejected(Reason.UNDECODABLE, f"OpenCV: {error.err}.")
    return _undecodable(encoded) if pixels is None else np.asarray(pixels, np.uint8)


def _decode_on_white(encoded: NDArray[np.uint8], header: Header) -> NDArray[np.uint8] | Rejected:
    """Decode what may be transparent: OpenCV drops that unless it leaves everything, turned sides too, as it is."""
    pixels, kinds, blocks = cv2.imdecodeWithMetadata(encoded, flags=cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return _undecodable(encoded)
    if pixels.ndim == 2 or pixels.dtype not in (np.uint8, np.uint16):  # noqa: PLR2004 - rows and columns alone: grey
        found = f"{'grey' if pixels.ndim == 2 else 'colours'} of {pixels.dtype}"  # noqa: PLR2004
        return _rejected(Reason.UNDECODABLE, f"OpenCV tells no transparency for this {header.format} of {found}.")
    exif = next((block for kind, block in zip(kinds, blocks, strict=True) if kind == cv2.IMAGE_METADATA_EXIF), None)
    shown = np.empty((*pixels.shape[:2], 3), np.uint8)
    for start in range(0, len(pixels), _BAND_ROWS):
        band = slice(start, start + _BAND_ROWS)
        shown[band] = _blend(pixels[band], header)
    return shown if exif is None else _turn(shown, read_orientation(exif.tobytes()))


def _blend(pixels: MatLike, header: Header) -> NDArray[np.uint8]:
    """Lay BGR or BGRA of 8 or 16 bits onto white; gives RGB of 8 bits."""
    top = 255 if pixels.dtype == np.uint8 else 65535
    colours = pixels[..., :3]
    if pixels.shape[2] > 3:  # noqa: PLR2004 - with opacity
        opacity = cv2.merge([pixels[..., 3]] * 3)
        # libtiff gives colours of 8 bits multiplied, however they are stored, and those of 16 as they are.
        multiplied = header.alpha is Alpha.PREMULTIPLIED or (header.format == "tiff" and top == 255)  # noqa: PLR2004
        lit = colours if multiplied else cv2.multiply(colours, opacity, scale=1 / top)
        colours = cv2.add(lit, top - opacity)
    return np.asarray(cv2.cvtColor((colours // (top // 255)).astype(np.uint8), cv2.COLOR_BGR2RGB), np.uint8)


def _turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn an image upright, given its EXIF orientation.

    >>> _turn(np.arange(3, dtype=np.uint8).reshape(1, 3, 1), 6).tolist()
    [[[0]], [[1]], [[2]]]
    """
    swapped, axes = _ORIENTATIONS.get(orientation, (False, ()))
    return np.ascontiguousarray(np.flip(pixels.swapaxes(0, 1) if swapped else pixels, axes))


def _undecodable(encoded: NDArray[np.uint8]) -> Rejected:
    return _rejected(Reason.UNDECODABLE, f"OpenCV cannot decode these {encoded.size} bytes.")


def _rejected(reason: Reason, detail: str) -> Rejected:
    return Rejected(Stage.DECODE, reason, detail)
