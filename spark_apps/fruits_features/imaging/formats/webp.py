"""WebP (RFC 9649)."""

import struct
from collections.abc import Iterator

from fruits_features.imaging.formats import ifd
from fruits_features.imaging.formats.header import Alpha, Header, MalformedHeaderError

_VP8X_ALPHA = 0x10
_FIRST_CHUNK = 12


def read(data: bytes) -> Header:
    """Read the first chunk: extended, lossless or lossy. A complete file has the length given by RIFF."""
    (riff_size,) = struct.unpack_from("<I", data, 4)
    complete = len(data) >= riff_size + 8
    chunk = data[12:16]
    transparent, exif = False, b""
    if chunk == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        transparent = bool(data[20] & _VP8X_ALPHA)
        exif = next((payload for kind, payload in _chunks(data) if kind == b"EXIF"), b"")
    elif chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        transparent = bool(bits >> 28 & 1)
    elif chunk == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    else:
        raise MalformedHeaderError(f"the first chunk of the WebP is {chunk!r}")
    alpha = Alpha.STRAIGHT if transparent else Alpha.NONE
    return Header("webp", width, height, complete, alpha, orientation=ifd.read_orientation(exif))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and payload of each chunk. Chunks of an odd length are followed by one byte of padding."""
    position = _FIRST_CHUNK
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
