"""TIFF (TIFF 6.0)."""

import struct
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.formats import ifd
from fruits_features.imaging.formats.header import Alpha, Header, MalformedHeaderError

_IMAGE_WIDTH, _IMAGE_LENGTH = 256, 257
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_EXTRA_SAMPLES = 338
_ALPHA = {1: Alpha.PREMULTIPLIED, 2: Alpha.STRAIGHT}  # by ExtraSamples: associated, unassociated
_PIXEL_DATA = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles
_TAGS = {_IMAGE_WIDTH, _IMAGE_LENGTH, _TILE_WIDTH, _TILE_LENGTH, _EXTRA_SAMPLES, *chain(*_PIXEL_DATA)}
_UPRIGHT = (ifd.ORIENTATION, 3, 1, 1, 0)  # an entry with one SHORT: 1, then padding


def read(data: bytes) -> Header:
    """Read the first directory. A complete file contains every strip or tile."""
    (directory,) = struct.unpack_from(f"{ifd.byte_order(data)}I", data, 4)
    if directory >= len(data):  # often written last, so a truncated file loses it first
        return Header("tiff", 0, 0, complete=False)
    tags = _read_tags(data)
    if _IMAGE_WIDTH not in tags or _IMAGE_LENGTH not in tags:
        raise MalformedHeaderError("the first directory of the TIFF contains no size")
    width, height, tile_width, tile_height, extra = (
        int(tags[tag][0]) if tag in tags else 0
        for tag in (_IMAGE_WIDTH, _IMAGE_LENGTH, _TILE_WIDTH, _TILE_LENGTH, _EXTRA_SAMPLES)
    )
    return Header(
        "tiff",
        width,
        height,
        complete=_last_byte(tags) <= len(data),
        alpha=_ALPHA.get(extra, Alpha.NONE),
        tile_pixels=tile_width * tile_height,
        orientation=ifd.read_orientation(data),
    )


def as_stored(data: bytes) -> bytes:
    """Return a TIFF that decoders do not turn: its orientation is that of an upright image.

    libtiff and OpenCV apply the orientation themselves, whatever the flags, and tile by tile in tiled images.
    """
    upright = struct.pack(f"{ifd.byte_order(data)}HHIHH", *_UPRIGHT)
    positions = [entry.position for entry in ifd.entries(data) if entry.tag == ifd.ORIENTATION]
    changed = [at for at in positions if data[at : at + len(upright)] != upright]
    if not changed:
        return data
    copy = bytearray(data)
    for at in changed:
        copy[at : at + len(upright)] = upright
    return bytes(copy)


def _read_tags(data: bytes) -> dict[int, NDArray[np.uint64]]:
    """Return the values of the first directory by tag. Of duplicate entries the first counts, as in libtiff.

    Raises:
        MalformedHeaderError: An entry has no values or too many, or they are no integers. A decoder might read it and
            find another size.
    """
    tags: dict[int, NDArray[np.uint64]] = {}
    for entry in ifd.entries(data):
        if entry.tag not in _TAGS or entry.tag in tags:
            continue
        if not entry.is_readable:
            raise MalformedHeaderError(
                f"entry {entry.tag} of the TIFF has {entry.value_count} values of type {entry.field_type}"
            )
        tags[entry.tag] = ifd.values(data, entry)
    return tags


def _last_byte(tags: dict[int, NDArray[np.uint64]]) -> int:
    """Return the position after the last strip or tile."""
    last = 0
    for offsets, counts in _PIXEL_DATA:
        if offsets in tags and counts in tags:
            count = min(tags[offsets].size, tags[counts].size)
            last = max(last, int((tags[offsets][:count] + tags[counts][:count]).max(initial=0)))
    return last
