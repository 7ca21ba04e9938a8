"""JPEG (ITU-T T.81)."""

import re
import struct
from collections.abc import Iterator

from fruits_features.imaging.formats import ifd
from fruits_features.imaging.formats.header import Header, MalformedHeaderError
from fruits_features.imaging.limits import MAX_JPEG_SCANS, MAX_JPEG_SEGMENTS

_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC share the range
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_APP1, _APP2 = 0xE1, 0xE2
_ICC_PREFIX = b"ICC_PROFILE\0"
_ICC_NUMBERS = 2  # bytes after the prefix: number of the part, from 1, and number of parts (ICC.1:2022, B.4)
_NEXT_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Next marker with a payload, or the end marker.

Excludes escaped 0xFF bytes in a scan (0x00), markers without payload (TEM, RST0 to RST7, SOI) and fill bytes (0xFF).
A regular expression is faster than a loop over the bytes; see docs/measurements/constants.md.
"""


def read(data: bytes) -> Header:
    """Read the size from the frame marker. A complete image has an end marker after its scans.

    APP segments are skipped, because thumbnails inside them have end markers too. Bytes after the end are ignored.
    """
    size: tuple[int, int] | None = None
    complete, scans, exif = False, 0, b""
    profile: dict[int, bytes] = {}
    for marker, payload in _segments(data):
        if marker in _START_OF_FRAME and size is None:
            height, width = struct.unpack_from(">HH", data, payload + 1)
            size = (width, height)
        elif marker == _APP1 and not exif and data.startswith(ifd.EXIF_PREFIX, payload):
            exif = _payload(data, payload)
        elif marker == _APP2 and data.startswith(_ICC_PREFIX, payload):
            part = _payload(data, payload)[len(_ICC_PREFIX) :]
            if len(part) > _ICC_NUMBERS:
                profile.setdefault(part[0], part)
        scans += marker == _START_OF_SCAN
        if scans > MAX_JPEG_SCANS:
            break
        complete = marker == _END_OF_IMAGE
    if size is None:
        if not complete:
            return Header("jpeg", 0, 0, complete=False, scans=scans)
        raise MalformedHeaderError("the JPEG has no frame")
    return Header(
        "jpeg",
        *size,
        complete=complete,
        scans=scans,
        orientation=ifd.read_orientation(exif),
        icc_profile=_profile(profile) if profile else b"",
    )


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
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


def _profile(parts: dict[int, bytes]) -> bytes:
    """Return a profile from its parts by number; empty if a part is missing. Parts start with two numbers."""
    numbers = range(1, next(iter(parts.values()))[1] + 1)
    if not all(number in parts for number in numbers):
        return b""
    return b"".join(parts[number][_ICC_NUMBERS:] for number in numbers)


def _payload(data: bytes, position: int) -> bytes:
    (length,) = struct.unpack_from(">H", data, position - 2)
    return data[position : position - 2 + length]
