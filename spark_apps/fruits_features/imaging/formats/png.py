"""PNG (ISO/IEC 15948)."""

import struct
import zlib

from fruits_features.imaging.formats import ifd
from fruits_features.imaging.formats.header import Alpha, Header, MalformedHeaderError
from fruits_features.imaging.limits import MAX_PROFILE_BYTES

_WITH_ALPHA = {4, 6}  # colour types: grey and alpha, RGB and alpha


def read(data: bytes) -> Header:
    """Read IHDR and all chunks. A complete file contains IEND, and tRNS makes some colours transparent.

    Raises:
        MalformedHeaderError: The first chunk is not IHDR, as in files that Xcode has changed for iOS (CgBI), or there
            are not pixels. OpenCV would take gigabytes to find out.
    """
    if data[12:16] != b"IHDR":
        raise MalformedHeaderError(f"the first chunk of the PNG is {data[12:16]!r} and not IHDR")
    width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
    transparent = colour_type in _WITH_ALPHA
    complete, has_pixels, exif, profile = False, False, b"", b""
    position = 8
    while position + 12 <= len(data) and not complete:
        (length,) = struct.unpack_from(">I", data, position)
        chunk_type = data[position + 4 : position + 8]
        has_pixels |= chunk_type == b"IDAT"
        transparent |= chunk_type == b"tRNS"
        if chunk_type == b"eXIf" and not exif:
            exif = data[position + 8 : position + 8 + length]
        if chunk_type == b"iCCP" and not profile:
            profile = _profile(data[position + 8 : position + 8 + length])
        complete = chunk_type == b"IEND"
        position += 12 + length
    if complete and not has_pixels:
        raise MalformedHeaderError("the PNG has no pixels")
    alpha = Alpha.STRAIGHT if transparent else Alpha.NONE
    orientation = ifd.read_orientation(exif)
    return Header("png", width, height, complete, alpha, orientation=orientation, icc_profile=profile)


def _profile(chunk: bytes) -> bytes:
    """Return the profile in the chunk iCCP: a name, the method of compression and a zlib stream."""
    _, _, stored = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(stored[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
