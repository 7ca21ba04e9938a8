"""TIFF (TIFF 6.0), and the raw files of cameras that have its structure."""

import struct
from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.formats import ifd
from fruits_features.imaging.formats.header import Alpha, Header, MalformedHeaderError, UnsupportedFormatError
from fruits_features.imaging.limits import MAX_TIFF_DIRECTORIES

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _SUB_DIRECTORIES = 254, 255, 330
_IMAGE_WIDTH, _IMAGE_LENGTH = 256, 257
_PHOTOMETRIC = 262
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_EXTRA_SAMPLES = 338
_ICC_PROFILE = 34675
_ALPHA = {1: Alpha.PREMULTIPLIED, 2: Alpha.STRAIGHT}  # by ExtraSamples: associated, unassociated
_PIXEL_DATA = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles
_SIZES = {1, 3, 4, 6, 8, 9, 16, 17}
"""Types of a size that libtiff reads (`TIFFReadDirEntryLong` in tif_dirread.c)."""
_TAGS = {_IMAGE_WIDTH, _IMAGE_LENGTH, _TILE_WIDTH, _TILE_LENGTH, _EXTRA_SAMPLES, *chain(*_PIXEL_DATA)}
_UPRIGHT = (ifd.ORIENTATION, 3, 1, 1, 0)  # an entry with one SHORT: 1, then padding
_REDUCED, _OLD_REDUCED = 1, 2  # bit of NewSubfileType, value of SubfileType
_RAW = {32803, 34892}  # values of PhotometricInterpretation: colour filter array, linear raw
_CANON_RAW = b"CR"  # after the position of the first directory


def read(data: bytes) -> Header:
    """Read the directory of the full image. A complete file contains every strip or tile.

    Raises:
        MalformedHeaderError: The directory contains no valid size.
        UnsupportedFormatError: The file is the raw file of a camera.
    """
    first = ifd.first_directory(data)
    if first >= len(data):  # often written last, so a truncated file loses it first
        return Header("tiff", 0, 0, complete=False)
    directory = _full_image(data)
    if data[8:10] == _CANON_RAW or _RAW.intersection(ifd.integers(data, directory, _PHOTOMETRIC)):
        raise UnsupportedFormatError("a camera's raw file. Export it as JPEG")
    tags = _read_tags(data, directory)
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
        orientation=_orientation(data, directory),
        icc_profile=ifd.content(data, directory, _ICC_PROFILE),
    )


def as_stored(data: bytes) -> bytes:
    """Return a TIFF whose first image is the full one, with the orientation of an upright image.

    OpenCV decodes the first image. libtiff and OpenCV apply the orientation themselves, whatever the flags, and tile by
    tile in tiled images.
    """
    order = ifd.byte_order(data)
    directory = _full_image(data)
    upright = struct.pack(f"{order}HHIHH", *_UPRIGHT)
    changes = {entry.position: upright for entry in ifd.entries(data, directory) if entry.tag == ifd.ORIENTATION}
    changes[4] = struct.pack(f"{order}I", directory)
    changes = {at: new for at, new in changes.items() if data[at : at + len(new)] != new}
    if not changes:
        return data
    copy = bytearray(data)
    for at, new in changes.items():
        copy[at : at + len(new)] = new
    return bytes(copy)


def _orientation(data: bytes, directory: int) -> int:
    """Return the orientation of an image. A sub-image without one has that of the first image (DNG, TIFF/EP)."""
    has_own = bool(ifd.integers(data, directory, ifd.ORIENTATION))
    return ifd.read_orientation(data, directory if has_own else None)


def _full_image(data: bytes) -> int:
    """Return the position of the first directory whose image is not a preview; that of the first one if all are.

    Raises:
        struct.error: A directory is outside the file.
    """
    first = ifd.first_directory(data)
    if not _is_preview(data, first):
        return first
    return next((directory for directory in _directories(data) if not _is_preview(data, directory)), first)


def _is_preview(data: bytes, directory: int) -> bool:
    new, old = (ifd.integers(data, directory, tag) for tag in (_SUBFILE_TYPE, _OLD_SUBFILE_TYPE))
    return bool(new[0] & _REDUCED) if new else bool(old) and old[0] == _OLD_REDUCED


def _directories(data: bytes) -> Iterator[int]:
    """Yield the positions of directories with images: each one of the file, then its sub-directories.

    Raises:
        struct.error: A directory is outside the file, which may have been cut before the full image.
    """
    pending, seen = [ifd.first_directory(data)], {0}
    while pending and len(seen) <= MAX_TIFF_DIRECTORIES:
        directory = pending.pop(0)
        if directory in seen:
            continue
        seen.add(directory)
        tags = {entry.tag for entry in ifd.entries(data, directory)}
        if _IMAGE_WIDTH in tags:
            yield directory
        inner = ifd.integers(data, directory, _SUB_DIRECTORIES) if _SUB_DIRECTORIES in tags else []
        pending = [*inner[:MAX_TIFF_DIRECTORIES], ifd.next_directory(data, directory), *pending]


def _read_tags(data: bytes, directory: int) -> dict[int, NDArray[np.uint64]]:
    """Return the values of a directory by tag. Of duplicate entries the first counts, as in libtiff.

    Raises:
        MalformedHeaderError: An entry has no values or too many, or they are not integers. A decoder might read it and
            find another size.
    """
    tags: dict[int, NDArray[np.uint64]] = {}
    for entry in ifd.entries(data, directory):
        if entry.tag not in _TAGS or entry.tag in tags:
            continue
        if not entry.is_readable or entry.field_type not in _SIZES:
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
