"""GIF (GIF89a specification)."""

import struct

from fruits_features.imaging.formats.header import Alpha, Header


def read(data: bytes) -> Header:
    """Read the logical screen. Only decoding shows whether the first frame is complete or transparent."""
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("gif", width, height, complete=True, alpha=Alpha.STRAIGHT)
