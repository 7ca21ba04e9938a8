"""Decodes image files to pixels.

Does not know where the bytes come from or what is computed from the pixels.
"""

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from fruits_features.contract.rejections import FORMATS, Reason, Rejected, Stage
from fruits_features.imaging import heic
from fruits_features.imaging.colour import to_srgb
from fruits_features.imaging.formats import gif, heif, tiff, webp
from fruits_features.imaging.formats.header import Alpha, Header, MalformedHeaderError, UnsupportedFormatError
from fruits_features.imaging.headers import read_header
from fruits_features.imaging.limits import MAX_JPEG_SCANS
from fruits_features.imaging.orientation import turn
from fruits_features.imaging.scaled_jpeg import FLAGS, Detail, reduced

# Executors run one Python worker per core. OpenCV's own threads would compete with them and do not survive a fork.
cv2.setNumThreads(1)
# Errors of OpenCV are reported in quarantine/ and would only fill the workers' logs.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_BAND_ROWS = 256
"""Rows blended at once, so that the memory for blending does not grow with the image."""


def decode(data: bytes, max_pixels: int, detail: Detail | None = None) -> NDArray[np.uint8] | Rejected:
    """Decode a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC image.

    The bytes determine the format, never the name. The EXIF orientation is applied, and colours are converted to sRGB.
    Grey, palettes and CMYK become RGB, and 16 bits become 8. Only the first frame or page is decoded. Transparent areas
    become white, like the background of a cut-out fruit, because their stored colour is arbitrary.

    Args:
        data: Content of the file.
        max_pixels: Largest number of pixels; larger images are rejected before they are decoded.
        detail: Sufficient size, as in `decode_accepted`.

    Returns:
        Height x width x 3, uint8, RGB; or the reason of the rejection.

    >>> decode(b"hello", max_pixels=100).reason
    <Reason.NOT_AN_IMAGE: 'not_an_image'>
    """
    header = accept(data, max_pixels)
    return header if isinstance(header, Rejected) else decode_accepted(data, header, detail)


def accept(data: bytes, max_pixels: int) -> Header | Rejected:
    """Return the header of a file that can be decoded within the limits, or the reason of the rejection.

    Args:
        data: Content of the file.
        max_pixels: Largest number of pixels.
    """
    header = _read_header(data)
    if isinstance(header, Rejected):
        return header
    return exceeded_limit(header, max_pixels) or _check_complete(header, len(data)) or header


def decode_accepted(data: bytes, header: Header, detail: Detail | None = None) -> NDArray[np.uint8] | Rejected:
    """Decode a file whose header was accepted to an upright image in sRGB on white.

    A truncated file may give a part of the image.

    Args:
        data: Content of the file.
        header: Header of the file. The limits have been checked for it.
        detail: Sufficient size. A larger JPEG is decoded to a smaller image that still has it, which is much faster.
            `None` for all pixels.
    """
    divisor = detail.divisor(header) if detail else 1
    stored = _check_shape(_decode(data, header, divisor), header, divisor)
    if isinstance(stored, Rejected):
        return stored
    return to_srgb(turn(stored, header.orientation), header.icc_profile)


def _read_header(data: bytes) -> Header | Rejected:
    if not data:
        return _rejected(Reason.EMPTY, "The file has no bytes.")
    try:
        header = read_header(data)
    except MalformedHeaderError as error:
        return _rejected(Reason.UNDECODABLE, f"The file is malformed: {error}.")
    except UnsupportedFormatError as error:
        return _rejected(Reason.UNSUPPORTED_FORMAT, f"The file is {error}.")
    if header is None:
        return _rejected(Reason.NOT_AN_IMAGE, f"The file is not a {FORMATS} file: it starts with {data[:8].hex(' ')}.")
    return header


def exceeded_limit(header: Header, max_pixels: int) -> Rejected | None:
    """Return why a file must not be decoded, given its header; `None` if it may be."""
    shape = f"{header.width} x {header.height} pixels"
    if header.width * header.height > max_pixels:
        return _rejected(Reason.TOO_MANY_PIXELS, f"The image has {shape}; the limit is {max_pixels}.")
    if header.tile_pixels > max_pixels:
        tiles = f"{shape} in tiles of {header.tile_pixels} pixels"
        return _rejected(Reason.TOO_MANY_PIXELS, f"The image has {tiles}; the limit is {max_pixels}.")
    if header.scans > MAX_JPEG_SCANS:
        return _rejected(Reason.TOO_MANY_SCANS, f"The JPEG has more than {MAX_JPEG_SCANS} scans.")
    return None


def _check_complete(header: Header, size: int) -> Rejected | None:
    if header.complete:
        return None
    return _rejected(Reason.TRUNCATED, f"The {header.format} image continues after the file's {size} bytes.")


def _check_shape(pixels: NDArray[np.uint8] | Rejected, header: Header, divisor: int) -> NDArray[np.uint8] | Rejected:
    """Reject an image of another size than its header states: the limits were checked for the stated size.

    A lossless JPEG is decoded at its full size, whatever the divisor.
    """
    if isinstance(pixels, Rejected):
        return pixels
    height, width = pixels.shape[:2]
    size = header.height, header.width
    if (height, width) == size or (height, width) == reduced(*size, divisor):
        return pixels
    return _rejected(
        Reason.UNDECODABLE,
        f"The header states {header.width} x {header.height} pixels, but the decoder returned {width} x {height}.",
    )


def _decode(data: bytes, header: Header, divisor: int) -> NDArray[np.uint8] | Rejected:
    """Decode a file to the rows and columns that it stores, divided by `divisor`, on white."""
    try:
        return _decode_format(data, header, divisor)
    except cv2.error as error:
        return _rejected(Reason.UNDECODABLE, f"OpenCV: {error.err}.")
    except MalformedHeaderError as error:
        return _rejected(Reason.UNDECODABLE, f"The file is malformed: {error}.")
    except heic.HeicError as error:
        return _rejected(Reason.UNDECODABLE, f"libheif: {str(error).rstrip('.')}.")
    except UnsupportedFormatError as error:
        return _rejected(Reason.UNSUPPORTED_FORMAT, f"The file is {error}.")


def _decode_format(data: bytes, header: Header, divisor: int) -> NDArray[np.uint8] | Rejected:
    if header.format == "gif":
        return _decode_gif(data, header)
    if header.format == heif.HEIC:
        return _on_white(heic.decode(data), header)
    if header.format == "tiff":
        data = tiff.as_stored(data)
    if header.alpha is Alpha.NONE:
        return _decode_opaque(np.frombuffer(data, np.uint8), divisor)
    if header.format == "webp":
        data = webp.with_alpha_flag(data)
    return _decode_on_white(np.frombuffer(data, np.uint8), header)


def _decode_opaque(encoded: NDArray[np.uint8], divisor: int) -> NDArray[np.uint8] | Rejected:
    pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION | FLAGS[divisor])
    return _undecodable(encoded) if pixels is None else np.asarray(pixels, np.uint8)


def _decode_gif(data: bytes, header: Header) -> NDArray[np.uint8] | Rejected:
    """Decode the first frame of a GIF. What it does not cover is white."""
    frame = gif.first_frame(data)
    pixels = _decode_on_white(np.frombuffer(frame.file, np.uint8), header)
    if isinstance(pixels, Rejected) or pixels.shape[:2] == (header.height, header.width):
        return pixels
    screen = np.full((header.height, header.width, 3), 255, np.uint8)
    screen[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = pixels
    return screen


def _decode_on_white(encoded: NDArray[np.uint8], header: Header) -> NDArray[np.uint8] | Rejected:
    """Decode an image that may be transparent, and blend it with white."""
    pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)  # the only flag that keeps transparency; ignores orientations
    if pixels is None:
        return _undecodable(encoded)
    if pixels.ndim == 2 or pixels.dtype not in (np.uint8, np.uint16):  # noqa: PLR2004 - two dimensions: grey
        pixel_type = f"{pixels.dtype} {'grey' if pixels.ndim == 2 else 'colour'}"  # noqa: PLR2004 - as above
        return _rejected(
            Reason.UNDECODABLE, f"OpenCV does not return the transparency of a {header.format} image in {pixel_type}."
        )
    return _on_white(pixels, header)


def _on_white(pixels: MatLike, header: Header) -> NDArray[np.uint8]:
    """Blend BGR or BGRA of 8 or 16 bits with white, and return RGB of 8 bits."""
    blended = np.empty((*pixels.shape[:2], 3), np.uint8)
    for start in range(0, len(pixels), _BAND_ROWS):
        band = slice(start, start + _BAND_ROWS)
        blended[band] = _blend(pixels[band], header)
    return blended


def _blend(pixels: MatLike, header: Header) -> NDArray[np.uint8]:
    """Blend some rows."""
    maximum = 255 if pixels.dtype == np.uint8 else 65535
    colours = pixels[..., :3]
    if pixels.shape[2] > 3:  # noqa: PLR2004 - with alpha
        opacity = cv2.merge([pixels[..., 3]] * 3)
        # libtiff returns 8-bit colours premultiplied, however they are stored, and 16-bit colours as they are stored.
        premultiplied = header.alpha is Alpha.PREMULTIPLIED or (header.format == "tiff" and maximum == 255)  # noqa: PLR2004 - 8 bits
        weighted = colours if premultiplied else cv2.multiply(colours, opacity, scale=1 / maximum)
        colours = cv2.add(weighted, maximum - opacity)
    return np.asarray(cv2.cvtColor((colours // (maximum // 255)).astype(np.uint8), cv2.COLOR_BGR2RGB), np.uint8)


def _undecodable(encoded: NDArray[np.uint8]) -> Rejected:
    return _rejected(Reason.UNDECODABLE, f"OpenCV cannot decode these {encoded.size} bytes.")


def _rejected(reason: Reason, detail: str) -> Rejected:
    return Rejected(Stage.DECODE, reason, detail)
