"""BMP (Windows bitmap)."""

import struct

from fruits_features.imaging.formats.header import Alpha, Header

_BITMAPCOREHEADER_BYTES = 12
_BITMAPV3HEADER_BYTES = 56  # the first one with an alpha mask
_BITFIELDS = 3


def read(data: bytes) -> Header:
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
