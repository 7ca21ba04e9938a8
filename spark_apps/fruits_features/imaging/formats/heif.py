"""HEIC and AVIF: images of one codec or another in the boxes of HEIF (ISO/IEC 23008-12)."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from fruits_features.imaging.formats import av1
from fruits_features.imaging.formats.header import Alpha, Header, MalformedHeaderError
from fruits_features.imaging.limits import MAX_CHUNKS

AVIF, HEIC = "avif", "heic"
_BRANDS = {
    AVIF: {b"avif", b"avis"},
    HEIC: {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
}
_ALPHA_URNS = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_FULL_BOX_BYTES = 4  # version and flags before the content of most boxes
_ICC_TYPES = (b"prof", b"rICC")
_ORIENTATIONS = {  # by the turn in steps of 90 degrees anticlockwise, and the axis of the mirror that follows
    (0, None): 1,
    (0, 1): 2,
    (2, None): 3,
    (0, 0): 4,
    (2, 1): 4,
    (2, 0): 2,
    (1, 0): 5,
    (3, 1): 5,
    (3, None): 6,
    (3, 0): 7,
    (1, 1): 7,
    (1, None): 8,
}


class _Box(NamedTuple):
    kind: bytes
    start: int
    end: int


def format_of(data: bytes) -> str | None:
    """Return the format of a HEIF file by its brands, AVIF or HEIC. Return `None` for other files, such as videos."""
    if data[4:8] != b"ftyp" or len(data) < 16:  # noqa: PLR2004 - one brand, its version and one more
        return None
    size = min(int.from_bytes(data[:4]), len(data))
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size - 3, 4))}
    return next((name for name, known in _BRANDS.items() if known & brands), None)


def read(data: bytes) -> Header:
    """Read the properties of the primary image. A complete file contains all of `meta` and `mdat`.

    OpenCV decodes AVIF as it is stored. libheif turns and crops HEIC itself, so the header of HEIC has the turned size.

    Raises:
        MalformedHeaderError: There is no primary image with a size.
    """
    image_format = format_of(data) or HEIC
    boxes = {box.kind: box for box in _boxes(data, 0, len(data))}
    meta = boxes.get(b"meta")
    if meta is None or meta.end > len(data) or b"mdat" not in boxes:
        return Header(image_format, 0, 0, complete=False)
    properties, shared = _properties(data, meta)
    sizes = [struct.unpack_from(">II", data, box.start + _FULL_BOX_BYTES) for box in shared if box.kind == b"ispe"]
    own = {box.kind: box for box in reversed(properties)}
    if b"ispe" not in own:
        raise MalformedHeaderError(f"the primary image of the {image_format.upper()} has no size")
    width, height = struct.unpack_from(">II", data, own[b"ispe"].start + _FULL_BOX_BYTES)
    orientation = _orientation(data, own)
    if image_format == HEIC:
        if b"clap" in own:
            width, height = _cropped(data, own[b"clap"])
        width, height = (height, width) if orientation > 4 else (width, height)  # noqa: PLR2004 - 5 to 8 swap the sides
        orientation = 1
    return Header(
        image_format,
        width,
        height,
        complete=boxes[b"mdat"].end <= len(data),
        alpha=Alpha.STRAIGHT if any(_is_alpha(data, box) for box in shared) else Alpha.NONE,
        tile_pixels=max(_coded_pixels(data, meta), *(one * other for one, other in sizes)),
        orientation=orientation,
        icc_profile=next(filter(None, (_profile(data, box) for box in properties)), b""),
    )


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two positions. The last one may end behind the second position.

    Raises:
        MalformedHeaderError: There are too many boxes.
    """
    for _ in range(MAX_CHUNKS):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:  # the size has 64 bits
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        following = start + size if size else end
        if following < content:
            return
        yield _Box(kind, content, following)
        start = following
    raise MalformedHeaderError(f"the file has more than {MAX_CHUNKS} boxes")


def _child(data: bytes, parent: _Box, kind: bytes, skipped: int = 0) -> _Box:
    """Return the first child of a kind.

    Raises:
        MalformedHeaderError: There is none.
    """
    end = min(parent.end, len(data))
    box = next((box for box in _boxes(data, parent.start + skipped, end) if box.kind == kind), None)
    if box is None:
        raise MalformedHeaderError(f"the box {kind!r} is missing")
    return box


def _properties(data: bytes, meta: _Box) -> tuple[list[_Box], list[_Box]]:
    """Return the properties of the primary image, and those of all images."""
    primary = _child(data, meta, b"pitm", _FULL_BOX_BYTES)
    (item,) = struct.unpack_from(">I" if data[primary.start] else ">H", data, primary.start + _FULL_BOX_BYTES)
    container = _child(data, meta, b"iprp", _FULL_BOX_BYTES)
    stored = _child(data, container, b"ipco")
    shared = list(_boxes(data, stored.start, min(stored.end, len(data))))
    indices = _associated(data, _child(data, container, b"ipma"), item)
    return [shared[index - 1] for index in indices if 0 < index <= len(shared)], shared


def _associated(data: bytes, box: _Box, wanted: int) -> list[int]:
    """Return the numbers of an item's properties, from 1."""
    version, flags = data[box.start], data[box.start + 3]
    item_format, index_format = (">IB" if version else ">HB"), (">H" if flags & 1 else ">B")
    (count,) = struct.unpack_from(">I", data, box.start + _FULL_BOX_BYTES)
    position = box.start + _FULL_BOX_BYTES + 4
    for _ in range(count):
        item, number = struct.unpack_from(item_format, data, position)
        position += struct.calcsize(item_format)
        width = struct.calcsize(index_format)
        if item == wanted:
            stored = (struct.unpack_from(index_format, data, position + width * at)[0] for at in range(number))
            return [index & (0x7FFF if flags & 1 else 0x7F) for index in stored]  # the highest bit: essential
        position += width * number
    return []


def _coded_pixels(data: bytes, meta: _Box) -> int:
    """Return the number of pixels of the largest AV1 picture in the file."""
    return max((av1.coded_pixels(content) for content in _av1_items(data, meta)), default=0)


def _av1_items(data: bytes, meta: _Box) -> Iterator[bytes]:
    """Yield the content of all items of the type AV1, pictures and tiles.

    Raises:
        MalformedHeaderError: Items share bytes, so that reading each one could take very long.
    """
    infos = _child(data, meta, b"iinf", _FULL_BOX_BYTES)
    skipped = _FULL_BOX_BYTES + (4 if data[infos.start] else 2)
    kinds = dict(_item_kind(data, box) for box in _boxes(data, infos.start + skipped, min(infos.end, len(data))))
    if b"av01" not in kinds.values():
        return
    places = _child(data, meta, b"iloc", _FULL_BOX_BYTES)
    unread = len(data)
    for item, extents in _locations(data, places, meta):
        if kinds.get(item) == b"av01":
            unread -= sum(length for _, length in extents)
            if unread < 0:
                raise MalformedHeaderError("pictures of the AVIF overlap")
            yield b"".join(data[start : start + length] for start, length in extents)


def _item_kind(data: bytes, info: _Box) -> tuple[int, bytes]:
    """Return number and type of the item that a box `infe` describes."""
    number = ">I" if data[info.start] > 2 else ">H"  # noqa: PLR2004 - from version 3 on, numbers have 32 bits
    (item,) = struct.unpack_from(number, data, info.start + _FULL_BOX_BYTES)
    kind = info.start + _FULL_BOX_BYTES + struct.calcsize(number) + 2
    return item, data[kind : kind + 4]


def _locations(data: bytes, places: _Box, meta: _Box) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the number of each item, and position and length of its extents (box `iloc`)."""
    version = data[places.start]
    stream = _Numbers(data, places.start + _FULL_BOX_BYTES)
    sizes = stream.read(2)
    offset_bytes, length_bytes, base_bytes, index_bytes = (sizes >> shift & 0xF for shift in (12, 8, 4, 0))
    for _ in range(stream.read(4 if version > 1 else 2)):
        item = stream.read(4 if version > 1 else 2)
        method = stream.read(2) & 0xF if version else 0
        stream.read(2)
        base = stream.read(base_bytes) + (_child(data, meta, b"idat", _FULL_BOX_BYTES).start if method == 1 else 0)
        extents = []
        for _ in range(stream.read(2)):
            stream.read(index_bytes if version else 0)
            extents.append((base + stream.read(offset_bytes), stream.read(length_bytes)))
        yield item, extents


class _Numbers:
    """Reader of big-endian numbers one after the other."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position

    def read(self, size: int) -> int:
        """Return the next number of some bytes.

        Raises:
            IndexError: The file ends.
        """
        end = self._position + size
        if end > len(self._data):
            raise IndexError("a number after the end")
        value = int.from_bytes(self._data[self._position : end])
        self._position = end
        return value


def _orientation(data: bytes, own: dict[bytes, _Box]) -> int:
    turn = data[own[b"irot"].start] & 3 if b"irot" in own else 0
    mirror = data[own[b"imir"].start] & 1 if b"imir" in own else None
    return _ORIENTATIONS[turn, mirror]


def _cropped(data: bytes, box: _Box) -> tuple[int, int]:
    """Return the size of the clean aperture, rounded up."""
    width, width_divisor, height, height_divisor = struct.unpack_from(">4I", data, box.start)
    if not width_divisor or not height_divisor:
        raise MalformedHeaderError("the crop of the HEIC has no size")
    return -(-width // width_divisor), -(-height // height_divisor)


def _is_alpha(data: bytes, box: _Box) -> bool:
    return box.kind == b"auxC" and data.startswith(_ALPHA_URNS, box.start + _FULL_BOX_BYTES)


def _profile(data: bytes, box: _Box) -> bytes:
    is_profile = box.kind == b"colr" and data[box.start : box.start + 4] in _ICC_TYPES
    return data[box.start + 4 : box.end] if is_profile else b""
