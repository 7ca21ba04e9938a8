"""WebP (RFC 9649)."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from fruits_features.imaging.formats import ifd
from fruits_features.imaging.formats.header import Alpha, Header, MalformedHeaderError
from fruits_features.imaging.limits import MAX_CHUNKS

_FLAGS = 20  # position of the flags in the chunk VP8X, which is the first one
_ALPHA_FLAG = 0x10
_FIRST_CHUNK = 12
_FRAME_HEADER_BYTES = 16  # of the chunk ANMF, before the chunks of the frame


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int


def read(data: bytes) -> Header:
    """Read the first chunk: extended, lossless or lossy. A complete file has the length given by RIFF."""
    (riff_size,) = struct.unpack_from("<I", data, 4)
    complete = len(data) >= riff_size + 8
    kind = data[12:16]
    transparent, exif, profile = False, b"", b""
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        transparent = bool(data[_FLAGS] & _ALPHA_FLAG) or _has_opacity(data)
        exif, profile = _first(data, b"EXIF"), _first(data, b"ICCP")
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        transparent = bool(bits >> 28 & 1)
    elif kind == b"VP8 ":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    else:
        raise MalformedHeaderError(f"the first chunk of the WebP is {kind!r}")
    alpha = Alpha.STRAIGHT if transparent else Alpha.NONE
    orientation = ifd.read_orientation(exif)
    return Header("webp", width, height, complete, alpha, orientation=orientation, icc_profile=profile)


def with_alpha_flag(data: bytes) -> bytes:
    """Return a transparent WebP with the flag that says so. Without it libwebp ignores opacity that the file stores."""
    if data[12:16] != b"VP8X" or data[_FLAGS] & _ALPHA_FLAG:
        return data
    return data[:_FLAGS] + bytes([data[_FLAGS] | _ALPHA_FLAG]) + data[_FLAGS + 1 :]


def _has_opacity(data: bytes) -> bool:
    """Return whether the first image stores opacity."""
    for chunk in _chunks(data):
        if chunk.kind == b"ALPH":
            return True
        if chunk.kind in (b"VP8 ", b"VP8L"):
            return chunk.kind == b"VP8L" and bool(data[chunk.start + 4] & 0x10)  # bit 28 after the signature
    return False


def _first(data: bytes, kind: bytes) -> bytes:
    """Return the content of the first chunk of a kind; empty without one."""
    return next((data[chunk.start : chunk.end] for chunk in _chunks(data) if chunk.kind == kind), b"")


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield the chunks, also those inside of frames. Chunks of an odd length are followed by one byte of padding.

    Raises:
        MalformedHeaderError: The file has too many chunks.
    """
    position = _FIRST_CHUNK
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        start = position + 8
        if kind == b"ANMF":
            position = start + _FRAME_HEADER_BYTES
        else:
            yield _Chunk(kind, start, start + length)
            position = start + length + length % 2
    raise MalformedHeaderError(f"the WebP has more than {MAX_CHUNKS} chunks")
