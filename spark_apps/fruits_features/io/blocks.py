"""Digests of the blocks of a file, so that a complete file and a range of it can both be verified.

The blocks of a Parquet file are its row groups and its footer, since these are read alone. Parquet's own page checksums
do not cover the footer and the headers of pages.
"""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features.io import object_store

_READS = 2
"""Number of reads of a file until it counts as damaged: the first answer may have been damaged on its way."""
_TAIL_BYTES = 8
"""Length of the footer and magic number at the end of a Parquet file: https://parquet.apache.org/docs/file-format/."""
_MAGIC = b"PAR1"


class DamagedFileError(Exception):
    """A file is missing or has other bytes than were written.

    Args:
        name: Name of the file in its folder.
        why: Damage, as the end of a sentence.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why

    def __str__(self) -> str:
        """Return one sentence."""
        return f"{self.name} is damaged: {self.why}."


class Block(NamedTuple):
    """Consecutive bytes of a file, from the end of the block before.

    Args:
        end: Position behind the last byte.
        digest: SHA-256 of the bytes, hexadecimal.
    """

    end: int
    digest: str


def digest(data: bytes | memoryview) -> str:
    """Return the SHA-256 of some bytes, hexadecimal."""
    return sha256(data).hexdigest()


def of_parquet(data: bytes) -> tuple[Block, ...]:
    """Return the blocks of a Parquet file: one for each row group, then the footer."""
    metadata = pq.read_metadata(pa.BufferReader(data))
    starts = [metadata.row_group(number).column(0).data_page_offset for number in range(1, metadata.num_row_groups)]
    footer = len(data) - _TAIL_BYTES - metadata.serialized_size
    ends = [*starts, footer, len(data)]
    view = memoryview(data)
    return tuple(Block(end, digest(view[start:end])) for start, end in pairwise([0, *ends]))


def read(folder: str, name: str, blocks: Sequence[Block]) -> bytes:
    """Read a complete file.

    Raises:
        DamagedFileError: The file is missing, or has other bytes.
    """
    for _ in range(_READS):
        try:
            data = object_store.read_bytes(folder, name)
        except FileNotFoundError as error:
            raise DamagedFileError(name, "it does not exist") from error
        if _are_intact(memoryview(data), 0, blocks):
            return data
    raise DamagedFileError(name, "its digest does not match its content")


def open_parquet(folder: str, name: str, blocks: Sequence[Block]) -> pq.ParquetFile:
    """Open a Parquet file of which only the row groups that are read are fetched.

    Raises:
        DamagedFileError: The footer has other bytes. Reading a damaged row group raises it too.
        GenericError: The server answers ranges without status 206.
    """
    source = _Blocks(folder, name, blocks)
    footer = pa.BufferReader(_MAGIC + source.block(len(blocks) - 1))
    return pq.ParquetFile(source, metadata=pq.read_metadata(footer), page_checksum_verification=True)


class _Blocks(object_store.Ranges):
    """A file from which complete blocks are fetched and verified. Holds the last one.

    Args:
        folder: URI of the folder.
        name: Name of the object in the folder.
        blocks: Blocks of the object.
    """

    def __init__(self, folder: str, name: str, blocks: Sequence[Block]) -> None:
        super().__init__(folder, name, blocks[-1].end)
        self._blocks = blocks
        self._number, self._data = -1, b""

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, or all remaining bytes if `size` is negative."""
        position = self.tell()  # codespell:ignore tell
        end = self._blocks[-1].end if size < 0 else min(self._blocks[-1].end, position + size)
        pieces: list[bytes] = []
        for number, block in enumerate(self._blocks):
            start = self._start(number)
            if start < end and block.end > position:
                pieces.append(self.block(number)[max(0, position - start) : end - start])
        self.seek(max(position, end))
        return b"".join(pieces)

    def block(self, number: int) -> bytes:
        """Return the bytes of a block.

        Raises:
            DamagedFileError: The block has other bytes.
        """
        if number != self._number:
            self._data = self._fetch(number)
            self._number = number
        return self._data

    def _fetch(self, number: int) -> bytes:
        start, block = self._start(number), self._blocks[number]
        for _ in range(_READS):
            self.seek(start)
            try:
                data = super().read(block.end - start)
            except FileNotFoundError as error:
                raise DamagedFileError(self.name, "it does not exist") from error
            if _are_intact(memoryview(data), start, [block]):
                return data
        raise DamagedFileError(self.name, f"the digest of its bytes from {start} on does not match them")

    def _start(self, number: int) -> int:
        return self._blocks[number - 1].end if number else 0


def _are_intact(data: memoryview, start: int, blocks: Sequence[Block]) -> bool:
    """Return whether some bytes are exactly these blocks.

    Args:
        data: Bytes of a file.
        start: Position of the first byte in the file.
        blocks: Consecutive blocks of the file.
    """
    bounds = pairwise([start, *(block.end for block in blocks)])
    ends_equal = bool(blocks) and blocks[-1].end == start + len(data)
    return ends_equal and all(
        digest(data[first - start : end - start]) == block.digest
        for (first, end), block in zip(bounds, blocks, strict=True)
    )
