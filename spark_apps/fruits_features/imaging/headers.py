"""Reads format, size, transparency and completeness of an image file before it is decoded.

OpenCV offers none of this before decoding:

- It allocates memory before a caller can reject 100 megapixels. Its own limit is one environment variable per process.
- It drops transparency by default.
- OpenCV 4 decodes a truncated JPEG to a half-grey image without an error.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.limits import MAX_JPEG_SCANS, MAX_JPEG_SEGMENTS, MAX_TIFF_VALUES


class MalformedHeaderError(ValueError):
    """The file starts like an image, but its structure is invalid."""


class Alpha(Enum):
    """Kind of transparency of a file."""

    NONE = "none"
    STRAIGHT = "straight"
    """Colours are stored without their opacity. Also used if only decoding shows whether pixels are transparent."""
    PREMULTIPLIED = "premultiplied"
    """Colours are stored multiplied by their opacity."""


@dataclass(frozen=True)
class Header:
    """Header of an image file.

    Args:
        format: `jpeg`, `png`, `webp`, `bmp`, `tiff` or `gif`.
        width: Width in pixels, before the EXIF orientation is applied.
        height: Height in pixels, before the EXIF orientation is applied.
        complete: Whether the file contains the complete image.
        alpha: Kind of transparency.
        tile_pixels: Number of pixels of a tile, which may be larger than the image; 0 without tiles.
        scans: Number of scans of a JPEG. Counting stops after the limit; then `complete` is false.
    """

    format: str
    width: int
    height: int
    complete: bool
    alpha: Alpha = Alpha.NONE
    tile_pixels: int = 0
    scans: int = 0


def read_header(data: bytes) -> Header | None:
    """Return the header of an image; `None` if the first bytes are not those of a supported format.

    Raises:
        MalformedHeaderError: The structure of the file is invalid.

    >>> header = read_header(b"GIF89a" + bytes([3, 0, 2, 0]) + bytes(9))
    >>> header.format, header.width, header.height
    ('gif', 3, 2)
    >>> read_header(b"hello")
    """
    for signature, read in _READERS:
        if data.startswith(signature):
            if signature == b"RIFF" and data[8:12] != b"WEBP":
                return None
            try:
                return read(data)
            except (struct.error, IndexError) as error:
                raise MalformedHeaderError(
                    f"the header of these {len(data)} bytes points outside the file ({error})"
                ) from error
    return None


# --- JPEG (ITU-T T.81) ----------------------------------------------------------------------------------------

_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC share the range
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_NEXT_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Next marker with a payload, or the end marker.

Excludes escaped 0xFF bytes in a scan (0x00), markers without payload (TEM, RST0 to RST7, SOI) and fill bytes (0xFF).
A regular expression is faster than a loop over the bytes; see docs/measurements/constants.md.
"""


def _read_jpeg(data: bytes) -> Header:
    """Read the size from the frame marker. A complete image has an end marker after its scans.

    APP segments are skipped, because thumbnails inside them have end markers too. Bytes after the end are ignored.
    """
    size: tuple[int, int] | None = None
    complete, scans = False, 0
    for marker, payload in _jpeg_segments(data):
        if marker in _START_OF_FRAME and size is None:
            height, width = struct.unpack_from(">HH", data, payload + 1)
            size = (width, height)
        scans += marker == _START_OF_SCAN
        if scans > MAX_JPEG_SCANS:
            break
        complete = marker == _END_OF_IMAGE
    if size is None:
        if not complete:
            return Header("jpeg", 0, 0, complete=False, scans=scans)
        raise MalformedHeaderError("the JPEG has no frame")
    return Header("jpeg", *size, complete=complete, scans=scans)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker and the position of its payload, up to the end marker or the end of the file.

    Raises:
        MalformedHeaderError: The file has too many segments.
    """
    position = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        match = _NEXT_MARKER.search(data, position)
        if match is None:
            return
        position = match.end()
        marker = data[position - 1]
        if marker == _END_OF_IMAGE:
            yield marker, position
            return
        if position + 2 > len(data):
            return
        yield marker, position + 2
        position += struct.unpack_from(">H", data, position)[0]
    raise MalformedHeaderError(f"the JPEG has more than {MAX_JPEG_SEGMENTS} segments")


# --- PNG (ISO/IEC 15948) --------------------------------------------------------------------------------------


_PNG_WITH_ALPHA = {4, 6}  # colour types: grey and alpha, RGB and alpha


def _read_png(data: bytes) -> Header:
    """Read IHDR and all chunks. A complete file contains IEND, and tRNS makes some colours transparent."""
    width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
    transparent = colour_type in _PNG_WITH_ALPHA
    complete = False
    position = 8
    while position + 12 <= len(data) and not complete:
        (length,) = struct.unpack_from(">I", data, position)
        chunk_type = data[position + 4 : position + 8]
        transparent |= chunk_type == b"tRNS"
        complete = chunk_type == b"IEND"
        position += 12 + length
    return Header("png", width, height, complete, Alpha.STRAIGHT if transparent else Alpha.NONE)


# --- GIF89a, BMP ----------------------------------------------------------------------------------------------

_BITMAPCOREHEADER_BYTES = 12
_BITMAPV3HEADER_BYTES = 56  # the first one with an alpha mask
_BITFIELDS = 3


def _read_gif(data: bytes) -> Header:
    """Read the logical screen. Only decoding shows whether the first frame is complete or transparent."""
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("gif", width, height, complete=True, alpha=Alpha.STRAIGHT)


def _read_bmp(data: bytes) -> Header:
    """Read BITMAPCOREHEADER (16-bit sizes) or a later header (32-bit sizes; a negative height means top-down)."""
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == _BITMAPCOREHEADER_BYTES:
        width, height = struct.unpack_from("<HH", data, 18)
        return Header("bmp", width, height, complete=True)
    width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    alpha = Alpha.NONE
    if header_size >= _BITMAPV3HEADER_BYTES and compression == _BITFIELDS and any(data[66:70]):
        alpha = Alpha.STRAIGHT
    return Header("bmp", abs(width), abs(height), complete=True, alpha=alpha)


# --- WebP (RFC 9649) ------------------------------------------------------------------------------------------

_VP8X_ALPHA = 0x10


def _read_webp(data: bytes) -> Header:
    """Read the first chunk: extended, lossless or lossy. A complete file has the length given by RIFF."""
    (riff_size,) = struct.unpack_from("<I", data, 4)
    complete = len(data) >= riff_size + 8
    chunk = data[12:16]
    transparent = False
    if chunk == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        transparent = bool(data[20] & _VP8X_ALPHA)
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        transparent = bool(bits >> 28 & 1)
    elif chunk == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    else:
        raise MalformedHeaderError(f"the first chunk of the WebP is {chunk!r}")
    return Header("webp", width, height, complete, Alpha.STRAIGHT if transparent else Alpha.NONE)


# --- TIFF 6.0 -------------------------------------------------------------------------------------------------

_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 16: "u8", 17: "i8"}
"""NumPy types of BYTE, SHORT, LONG, their signed variants, LONG8 and SLONG8.

libtiff reads a size of each of these types (`TIFFReadDirEntryLong` in tif_dirread.c) and of no other.
"""
_TIFF_INLINE_BYTES = 4  # largest value stored in the entry itself; larger ones are stored elsewhere
_IMAGE_WIDTH, _IMAGE_LENGTH = 256, 257
_ORIENTATION = 274
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_EXTRA_SAMPLES = 338
_ALPHA = {1: Alpha.PREMULTIPLIED, 2: Alpha.STRAIGHT}  # by ExtraSamples: associated, unassociated
_PIXEL_DATA = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles
_TAGS = {_IMAGE_WIDTH, _IMAGE_LENGTH, _TILE_WIDTH, _TILE_LENGTH, _EXTRA_SAMPLES, *chain(*_PIXEL_DATA)}
_LARGEST_POSITION = 2**62  # larger than any file; the sum of two such positions fits into 64 bits


def _read_tiff(data: bytes) -> Header:
    """Read the first directory. A complete file contains every strip or tile."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    if directory >= len(data):  # often written last, so a truncated file loses it first
        return Header("tiff", 0, 0, complete=False)
    tags = _tiff_tags(data, _TAGS, strict=True)
    if _IMAGE_WIDTH not in tags or _IMAGE_LENGTH not in tags:
        raise MalformedHeaderError("the first directory of the TIFF contains no size")
    width, height, tile_width, tile_height, extra = (
        int(tags[tag][0]) if tag in tags else 0
        for tag in (_IMAGE_WIDTH, _IMAGE_LENGTH, _TILE_WIDTH, _TILE_LENGTH, _EXTRA_SAMPLES)
    )
    complete = _last_byte(tags) <= len(data)
    return Header("tiff", width, height, complete, _ALPHA.get(extra, Alpha.NONE), tile_width * tile_height)


def _last_byte(tags: dict[int, NDArray[np.uint64]]) -> int:
    """Return the position after the last strip or tile."""
    last = 0
    for offsets, counts in _PIXEL_DATA:
        if offsets in tags and counts in tags:
            count = min(tags[offsets].size, tags[counts].size)
            last = max(last, int((tags[offsets][:count] + tags[counts][:count]).max(initial=0)))
    return last


def _tiff_tags(data: bytes, wanted: set[int], *, strict: bool) -> dict[int, NDArray[np.uint64]]:
    """Return entries of the first directory by tag. Of duplicate entries the first counts, as in libtiff.

    Args:
        data: Content of the file, or an EXIF block.
        wanted: Tags to return.
        strict: Whether a wanted entry that cannot be read is an error. A decoder might read it and find another size.

    Raises:
        MalformedHeaderError: An entry has no values or too many, or they are no integers.
    """
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}H", data, directory)
    tags: dict[int, NDArray[np.uint64]] = {}
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, field_type, count = struct.unpack_from(f"{order}HHI", data, entry)
        if tag not in wanted or tag in tags:
            continue
        if field_type in _TIFF_TYPES and 0 < count <= MAX_TIFF_VALUES:
            tags[tag] = _tiff_values(data, entry, np.dtype(order + _TIFF_TYPES[field_type]), count)
        elif strict:
            raise MalformedHeaderError(f"entry {tag} of the TIFF has {count} values of type {field_type}")
    return tags


def _tiff_values(data: bytes, entry: int, dtype: np.dtype[Any], count: int) -> NDArray[np.uint64]:
    """Return the values of a directory entry. Negative values, which are invalid, become very large."""
    order = "<" if data[:2] == b"II" else ">"
    inline = count * dtype.itemsize <= _TIFF_INLINE_BYTES
    start = entry + 8 if inline else struct.unpack_from(f"{order}I", data, entry + 8)[0]
    if start + count * dtype.itemsize > len(data):
        raise struct.error(f"{count} values at position {start}")
    return np.frombuffer(data, dtype, count, start).astype(np.uint64).clip(max=_LARGEST_POSITION)


def read_orientation(exif: bytes) -> int:
    r"""Return the orientation in an EXIF block, 1 to 8; 1 if it contains none. The block is a TIFF without pixels.

    >>> read_orientation(b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, 6, 0, 0))
    6
    >>> read_orientation(b"no EXIF")
    1
    """
    block = exif.removeprefix(b"Exif\0\0")
    try:
        (orientation,) = _tiff_tags(block, {_ORIENTATION}, strict=False).get(_ORIENTATION, (1,))
    except (struct.error, ValueError):
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


_READERS = (
    (b"\xff\xd8\xff", _read_jpeg),
    (b"\x89PNG\r\n\x1a\n", _read_png),
    (b"GIF87a", _read_gif),
    (b"GIF89a", _read_gif),
    (b"RIFF", _read_webp),
    (b"II*\x00", _read_tiff),
    (b"MM\x00*", _read_tiff),
    (b"BM", _read_bmp),
)
