"""What an image file says of itself before it is decoded: format, size in pixels, and whether it is all there.

OpenCV decides about neither in time: it allocates before one can refuse 100 megapixels, its own limit is one
environment variable for the whole process, and OpenCV 4 turns a cut JPEG into a half-grey picture without a word.
Reads bytes only; decodes nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass


class MalformedHeaderError(ValueError):
    """The file begins like an image, but its structure cannot be read."""


@dataclass(frozen=True)
class Header:
    """What the file says of itself.

    Args:
        format: `jpeg`, `png`, `webp`, `bmp`, `tiff` or `gif`.
        width: in pixels, before any EXIF rotation.
        height: in pixels, before any EXIF rotation.
        complete: false when the file ends before the image does.
    """

    format: str
    width: int
    height: int
    complete: bool


def read_header(data: bytes) -> Header | None:
    """Read the header of an image of any known format; `None` when the first bytes are of none of them.

    Raises:
        MalformedHeaderError: when the structure promises what it does not hold.

    >>> read_header(b"GIF89a" + bytes([3, 0, 2, 0]) + bytes(9))
    Header(format='gif', width=3, height=2, complete=True)
    >>> read_header(b"hello")
    """
    for signature, read in _READERS:
        if data.startswith(signature):
            if signature == b"RIFF" and data[8:12] != b"WEBP":
                return None
            try:
                return read(data)
            except (struct.error, IndexError) as error:
                return _cut_short(data, error)
    return None


def _cut_short(data: bytes, error: Exception) -> Header:
    """Tell that the file ends, or points, outside itself before its size could be read."""
    raise MalformedHeaderError(f"the header of these {len(data)} bytes points outside the file ({error})") from error


# --- JPEG (ITU-T T.81) ----------------------------------------------------------------------------------------

_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC share the range
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}  # TEM, RST0 to RST7, SOI
_FILL = 0xFF
_END_OF_IMAGE = 0xD9


def _read_jpeg(data: bytes) -> Header:
    """Walk the markers: the size stands in the frame's, and a complete image has an end marker after its scans.

    Thumbnails inside APP segments have end markers of their own; the walk steps over them. What follows the end is
    ignored.
    """
    size: tuple[int, int] | None = None
    complete = False
    for marker, payload in _jpeg_segments(data):
        if marker in _START_OF_FRAME and size is None:
            height, width = struct.unpack_from(">HH", data, payload + 1)
            size = (width, height)
        complete = marker == _END_OF_IMAGE
    if size is None:
        if not complete:
            return Header("jpeg", 0, 0, complete=False)
        raise MalformedHeaderError("a JPEG without a frame")
    return Header("jpeg", *size, complete=complete)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker with the position of its payload, up to the end marker or the end of the file."""
    position = 2
    while position + 1 < len(data):
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            return
        marker = data[position + 1]
        if marker == _FILL:
            position += 1
            continue
        position += 2
        if marker == 0 or marker in _WITHOUT_LENGTH:  # 0: an escaped 0xFF inside a scan
            continue
        if marker == _END_OF_IMAGE:
            yield marker, position
            return
        if position + 2 > len(data):
            return
        yield marker, position + 2
        position += struct.unpack_from(">H", data, position)[0]


# --- PNG (ISO/IEC 15948) --------------------------------------------------------------------------------------


def _read_png(data: bytes) -> Header:
    """Read IHDR, then step from chunk to chunk: a whole file reaches IEND."""
    width, height = struct.unpack_from(">II", data, 16)
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"IEND":
            return Header("png", width, height, complete=True)
        position += 12 + length
    return Header("png", width, height, complete=False)


# --- GIF89a, BMP ----------------------------------------------------------------------------------------------

_BITMAPCOREHEADER_BYTES = 12


def _read_gif(data: bytes) -> Header:
    """Read the logical screen; whether the first frame is whole is found by decoding it."""
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("gif", width, height, complete=True)


def _read_bmp(data: bytes) -> Header:
    """Read BITMAPCOREHEADER (16-bit sizes) or its successors (32-bit, height negative for top-down)."""
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == _BITMAPCOREHEADER_BYTES:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("bmp", abs(width), abs(height), complete=True)


# --- WebP (RFC 9649) ------------------------------------------------------------------------------------------


def _read_webp(data: bytes) -> Header:
    """Read the first chunk: extended, lossless or lossy; a whole file is as long as RIFF says."""
    (riff_size,) = struct.unpack_from("<I", data, 4)
    complete = len(data) >= riff_size + 8
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    else:
        raise MalformedHeaderError(f"a WebP whose first chunk is {kind!r}")
    return Header("webp", width, height, complete=complete)


# --- TIFF 6.0 -------------------------------------------------------------------------------------------------

_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_TIFF_INLINE_BYTES = 4  # what fits into the entry itself; longer values stand elsewhere
_IMAGE_WIDTH, _IMAGE_LENGTH = 256, 257
_PIXEL_DATA = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles


def _read_tiff(data: bytes) -> Header:
    """Read the first directory: the size, and whether every strip or tile lies inside the file."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    if directory >= len(data):  # often written last, so the first thing a cut file loses
        return Header("tiff", 0, 0, complete=False)
    tags = dict(_tiff_tags(data, order, directory))
    if _IMAGE_WIDTH not in tags or _IMAGE_LENGTH not in tags:
        raise MalformedHeaderError("a TIFF whose first directory tells no size")
    ends = [
        offset + count
        for offsets, counts in _PIXEL_DATA
        for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
    ]
    complete = max(ends, default=0) <= len(data)
    return Header("tiff", tags[_IMAGE_WIDTH][0], tags[_IMAGE_LENGTH][0], complete=complete)


def _tiff_tags(data: bytes, order: str, directory: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the directory's entries of integer types."""
    (entries,) = struct.unpack_from(f"{order}H", data, directory)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
        if kind not in _TIFF_TYPES:
            continue
        layout = f"{order}{count}{_TIFF_TYPES[kind]}"
        if struct.calcsize(layout) <= _TIFF_INLINE_BYTES:
            yield tag, struct.unpack_from(layout, data, entry + 8)
        else:
            (values,) = struct.unpack_from(f"{order}I", data, entry + 8)
            yield tag, struct.unpack_from(layout, data, values)


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
