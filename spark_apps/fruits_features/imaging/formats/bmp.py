"""BMP (Windows bitmap)."""

import struct

from fruits_features.imaging.formats.header import Alpha, Header, UnsupportedFormatError

_BITMAPCOREHEADER_BYTES = 12
_BITMAPV3HEADER_BYTES = 56  # the first one with an alpha mask
_BITFIELDS, _ALPHA_BITFIELDS = 3, 6
_MASKS = 54  # position of the masks: inside later headers, or after a BITMAPINFOHEADER
_BITS_WITH_MASKS = 32
_BLUE_GREEN_RED = (0xFF0000, 0xFF00, 0xFF)
_ALPHA = (0, 0xFF000000)


def read(data: bytes) -> Header:
    """Read BITMAPCOREHEADER (16-bit sizes) or a later header (32-bit sizes; a negative height means top-down).

    Raises:
        UnsupportedFormatError: Pixels of 32 bits have other masks than those that OpenCV assumes without a check.
    """
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == _BITMAPCOREHEADER_BYTES:
        width, height = struct.unpack_from("<HH", data, 18)
        return Header("bmp", width, height, complete=True)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    alpha = 0
    if compression in (_BITFIELDS, _ALPHA_BITFIELDS) and bits == _BITS_WITH_MASKS:
        masks = struct.unpack_from("<III", data, _MASKS)
        if header_size >= _BITMAPV3HEADER_BYTES or compression == _ALPHA_BITFIELDS:
            (alpha,) = struct.unpack_from("<I", data, _MASKS + 12)
        if masks != _BLUE_GREEN_RED or alpha not in _ALPHA:
            raise UnsupportedFormatError("BMP with other colour masks than blue, green, red of 8 bits. Save it as PNG")
    return Header("bmp", abs(width), abs(height), complete=True, alpha=Alpha.STRAIGHT if alpha else Alpha.NONE)
