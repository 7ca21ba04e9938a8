"""GIF (GIF89a specification)."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from fruits_features.imaging.formats.header import Alpha, Header, MalformedHeaderError
from fruits_features.imaging.limits import MAX_GIF_BLOCKS

_SCREEN_BYTES = 13  # signature and logical screen descriptor
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
_DESCRIPTOR_BYTES = 10  # of an image, with its introducer


class Frame(NamedTuple):
    """The first frame of a GIF.

    Args:
        file: GIF with this frame alone, on a screen of its size.
        left: Column of the screen where the frame starts.
        top: Row of the screen where the frame starts.
        width: Width in pixels.
        height: Height in pixels.
    """

    file: bytes
    left: int
    top: int
    width: int
    height: int


class _Block(NamedTuple):
    kind: int
    start: int
    end: int


def read(data: bytes) -> Header:
    """Read the logical screen and all blocks. A complete file ends with a trailer.

    Only decoding shows whether the first frame is transparent.
    """
    width, height = struct.unpack_from("<HH", data, 6)
    complete = any(block.kind == _TRAILER for block in _blocks(data))
    return Header("gif", width, height, complete, Alpha.STRAIGHT)


def first_frame(data: bytes) -> Frame:
    """Return the first frame of a complete GIF.

    OpenCV fills what the frame does not cover with the background colour, and does not report transparency if a later
    frame is opaque. So it decodes a file that contains the first frame only.

    Raises:
        MalformedHeaderError: There is no frame, or it is not inside the screen.
    """
    control = b""
    for block in _blocks(data):
        if block.kind == _EXTENSION and data[block.start + 1] == _GRAPHIC_CONTROL:
            control = data[block.start : block.end]
        elif block.kind == _IMAGE:
            return _frame(data, block, control)
    raise MalformedHeaderError("the GIF has no frame")


def _frame(data: bytes, block: _Block, control: bytes) -> Frame:
    left, top, width, height = struct.unpack_from("<HHHH", data, block.start + 1)
    screen_width, screen_height = struct.unpack_from("<HH", data, 6)
    if left + width > screen_width or top + height > screen_height:
        raise MalformedHeaderError("the first frame of the GIF is not inside the screen")
    screen = data[:6] + struct.pack("<HH", width, height) + data[10 : _after_colours(data, 10, _SCREEN_BYTES)]
    descriptor = struct.pack("<BHHHH", _IMAGE, 0, 0, width, height)
    file = screen + control + descriptor + data[block.start + 9 : block.end] + bytes([_TRAILER])
    return Frame(file, left, top, width, height)


def _blocks(data: bytes) -> Iterator[_Block]:
    """Yield the complete extensions and images, and the trailer.

    Raises:
        MalformedHeaderError: A block has an unknown type, or there are too many.
    """
    position = _after_colours(data, 10, _SCREEN_BYTES)
    for _ in range(MAX_GIF_BLOCKS):
        if position >= len(data):
            return
        kind, start = data[position], position
        if kind == _TRAILER:
            yield _Block(kind, start, start + 1)
            return
        if kind == _IMAGE:
            position = _after_colours(data, start + 9, start + _DESCRIPTOR_BYTES) + 1  # and the size of LZW codes
        elif kind == _EXTENSION:
            position += 2
        else:
            raise MalformedHeaderError(f"a block of the GIF has the unknown type {kind}")
        position = _after_sub_blocks(data, position)
        if position > len(data):
            return
        yield _Block(kind, start, position)
    raise MalformedHeaderError(f"the GIF has more than {MAX_GIF_BLOCKS} blocks")


def _after_colours(data: bytes, flags: int, position: int) -> int:
    """Return the position after a colour table, if the flags say that there is one."""
    if flags >= len(data):
        return len(data) + 1
    return position + 3 * 2 ** ((data[flags] & 7) + 1) if data[flags] & 0x80 else position


def _after_sub_blocks(data: bytes, position: int) -> int:
    """Return the position after the next empty sub-block, or one after the end of the file.

    Raises:
        MalformedHeaderError: There are too many sub-blocks.
    """
    for _ in range(MAX_GIF_BLOCKS):
        if position >= len(data):
            return len(data) + 1
        length = data[position]
        position += 1 + length
        if not length:
            return position
    raise MalformedHeaderError(f"the GIF has more than {MAX_GIF_BLOCKS} sub-blocks")
