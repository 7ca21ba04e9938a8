"""Image file directories (TIFF 6.0): the structure of a TIFF file and of the EXIF block in other formats.

This is the only reader of orientations. OpenCV's own reader misreads LONG values in big-endian blocks and stops at a
damaged entry before the orientation. It does not expect the prefix that some programs write into WebP files.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.limits import MAX_TIFF_ENTRIES, MAX_TIFF_VALUES

ORIENTATION = 274
EXIF_PREFIX = b"Exif\0\0"
_TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8"}
"""NumPy types of BYTE, SHORT, LONG, their signed variants, IFD, LONG8 and SLONG8."""
_BYTE_TYPES = {1, 7}
_INLINE_BYTES = 4  # largest value stored in the entry itself; larger ones are stored elsewhere
_ENTRY_BYTES = 12
_LARGEST_POSITION = 2**62  # larger than any file; the sum of two such positions fits into 64 bits


class Entry(NamedTuple):
    """An entry of a directory.

    Args:
        position: Position of the entry in bytes.
        tag: Number of the field.
        field_type: Number of the type of the values.
        value_count: Number of values.
    """

    position: int
    tag: int
    field_type: int
    value_count: int

    @property
    def is_readable(self) -> bool:
        """Whether the entry contains integers, at least one and not too many."""
        return self.field_type in _TYPES and 0 < self.value_count <= MAX_TIFF_VALUES


def byte_order(data: bytes) -> str:
    """Return the byte order of a TIFF file or EXIF block, as `struct` names it."""
    return "<" if data[:2] == b"II" else ">"


def first_directory(data: bytes) -> int:
    """Return the position of the first directory of a TIFF file or EXIF block."""
    (position,) = struct.unpack_from(f"{byte_order(data)}I", data, 4)
    return int(position)


def next_directory(data: bytes, directory: int) -> int:
    """Return the position of the directory after another one; 0 after the last."""
    (count,) = struct.unpack_from(f"{byte_order(data)}H", data, directory)
    (position,) = struct.unpack_from(f"{byte_order(data)}I", data, directory + 2 + _ENTRY_BYTES * count)
    return int(position)


def entries(data: bytes, directory: int) -> Iterator[Entry]:
    """Yield the entries of a directory.

    Args:
        data: Content of a TIFF file, or an EXIF block.
        directory: Position of the directory.

    Raises:
        struct.error: The directory continues after the end of the data, or has too many entries.
    """
    order = byte_order(data)
    (count,) = struct.unpack_from(f"{order}H", data, directory)
    if count > MAX_TIFF_ENTRIES:
        raise struct.error(f"a directory of {count} entries")
    for position in range(directory + 2, directory + 2 + _ENTRY_BYTES * count, _ENTRY_BYTES):
        yield Entry(position, *struct.unpack_from(f"{order}HHI", data, position))


def values(data: bytes, entry: Entry) -> NDArray[np.uint64]:
    """Return the values of a readable entry. Negative values, which are invalid, become very large.

    Raises:
        struct.error: The values are outside the data.
    """
    order = byte_order(data)
    dtype = np.dtype(order + _TYPES[entry.field_type])
    inline = entry.value_count * dtype.itemsize <= _INLINE_BYTES
    start = entry.position + 8 if inline else struct.unpack_from(f"{order}I", data, entry.position + 8)[0]
    if start + entry.value_count * dtype.itemsize > len(data):
        raise struct.error(f"{entry.value_count} values at position {start}")
    return np.frombuffer(data, dtype, entry.value_count, start).astype(np.uint64).clip(max=_LARGEST_POSITION)


def integers(data: bytes, directory: int, tag: int) -> list[int]:
    """Return the values of the first readable entry with a tag. Return none if there is no such entry.

    A directory that ends too early is read up to its end.
    """
    try:
        for entry in entries(data, directory):
            if entry.tag == tag and entry.is_readable:
                return [int(value) for value in values(data, entry)]
    except struct.error:
        return []
    return []


def content(data: bytes, directory: int, tag: int) -> bytes:
    """Return the bytes of the first entry with a tag and the type BYTE or UNDEFINED; empty without one."""
    for entry in entries(data, directory):
        if entry.tag == tag and entry.field_type in _BYTE_TYPES and entry.value_count > _INLINE_BYTES:
            (start,) = struct.unpack_from(f"{byte_order(data)}I", data, entry.position + 8)
            return data[start : start + entry.value_count]
    return b""


def read_orientation(block: bytes, directory: int | None = None) -> int:
    r"""Return the orientation in a TIFF file or EXIF block, 1 to 8. Return 1 if it contains none.

    Args:
        block: Content of a TIFF file, or an EXIF block, with its prefix or without.
        directory: Position of the directory; that of the first one by default.

    >>> read_orientation(b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, 6, 0, 0))
    6
    >>> read_orientation(b"no EXIF")
    1
    """
    while block.startswith(EXIF_PREFIX):
        block = block[len(EXIF_PREFIX) :]
    if block[:2] not in (b"II", b"MM") or len(block) < len(EXIF_PREFIX) + 2:
        return 1
    found = integers(block, first_directory(block) if directory is None else directory, ORIENTATION)
    return found[0] if found and found[0] in range(1, 9) else 1
