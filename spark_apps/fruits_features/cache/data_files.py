"""The files of the store: written part by part, read again row by row. Knows no Spark and not which rows are wanted.

A file is Parquet in row groups of a few megabytes, with each image's features as bytes: Parquet's lists take several
times as long to write and to read. Who wants a good part of its rows fetches it in one request, who
wants a few fetches their row groups: so that reading follows what is wanted, also where it lies among much else.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from obstore.exceptions import GenericError

from fruits_features.cache.store import StoredFile, StoredPart
from fruits_features.io import arrow, object_store
from fruits_features.io.arrow import combine_chunks
from fruits_features.io.prefetch import BackgroundWriter
from fruits_features.io.vectors import pack, unpack
from fruits_features.schemas import FEATURES, IDENTITY, INDEX, PACKED, Column, arrow_schema

FILE_BYTES = 32 * 1024 * 1024
"""About what one file holds before compression: bounds the memory of whoever writes or reads it."""

GROUP_BYTES = 4 * 1024 * 1024
"""About what a row group holds: so much is read for a single row."""

WHOLE_SHARE = 0.25
"""Who wants this share of a file's rows gets all of it: one request and some megabytes more are the lesser wait."""

LEAST_RUN = 8
"""Rows that lie together on average: a copy of fewer takes no longer than to keep them apart."""

WHOLE_BYTES = 1024 * 1024
"""A file of this size or less is always fetched whole: parts of it would take as long."""


class PartWriter:
    """Writes what one task adds to a volume; what it has written counts once its `finish` is in a manifest.

    Args:
        folder: of the volume.
        number: of the part: names sort by it.
        uploads: does the waiting.
    """

    def __init__(self, folder: str, number: int, uploads: BackgroundWriter) -> None:
        self._folder, self._uploads = folder, uploads
        self._stem = f"{number:05}-{secrets.token_hex(4)}"  # another try of the same part writes other names
        self._files: list[StoredFile] = []
        self._index: list[pa.Table] = []

    def write(self, described: pa.Table, columns: Sequence[str]) -> None:
        """Write described images as one file.

        Args:
            described: `schemas.IDENTITY` and more.
            columns: which of its columns are stored.
        """
        name, memory = f"described-{self._stem}-{len(self._files):05}.parquet", described.nbytes
        group_rows = max(1, GROUP_BYTES * described.num_rows // memory)
        data = arrow.to_parquet(_packed(described.select(columns)), group_rows)
        self._uploads.call(object_store.write_bytes, self._folder, name, data)
        place = {"file": np.full(described.num_rows, len(self._files)), "row": np.arange(described.num_rows)}
        self.note(described, {key: pa.array(values) for key, values in place.items()})
        self._files.append(StoredFile(name, described.num_rows, len(data), memory))

    def note(self, rows: pa.Table, values: Mapping[str, pa.Array | pa.ChunkedArray]) -> None:
        """Put rows into the index: whose they are, and where they lie or why they were rejected."""
        schema = arrow_schema(INDEX)
        known = {**{column.name: rows[column.name] for column in IDENTITY}, **values}
        nothing = pa.nulls(rows.num_rows)
        columns = [known.get(one.name, nothing).cast(one.type) for one in schema]
        self._index.append(pa.Table.from_arrays(columns, schema=schema))

    def finish(self) -> StoredPart:
        """Write the index."""
        name = f"index-{self._stem}.parquet"
        table = pa.concat_tables([arrow_schema(INDEX).empty_table(), *self._index])
        data = arrow.to_parquet(table, max(1, table.num_rows))
        self._uploads.call(object_store.write_bytes, self._folder, name, data)
        return StoredPart(name, len(data), tuple(self._files))


class RowReader:
    """Reads rows of the store's files, wherever they are, in the order wanted.

    Args:
        folder: of the store.
        files: those that rows are wanted of.
        wanted: how many rows of each are wanted in all.
        columns: which of their columns.
    """

    def __init__(self, folder: str, files: Sequence[StoredFile], wanted: Counter[int], columns: Sequence[str]) -> None:
        self._folder, self._files, self._columns = folder, files, list(columns)
        self._left = Counter(wanted)
        self._open: dict[int, pq.ParquetFile] = {}

    def read(self, file: NDArray[np.int32], row: NDArray[np.int64]) -> pa.Table:
        """Read rows: the nth is row `row[n]` of file `file[n]`."""
        order = np.lexsort((row, file))
        pieces: list[pa.Table] = []
        for number, rows in _grouped(file[order], row[order]):
            pieces.extend(self._rows(number, rows))
        return _unpacked(_picked(pa.concat_tables(pieces), np.argsort(order)).combine_chunks())

    def _rows(self, number: int, rows: NDArray[np.int64]) -> list[pa.Table]:
        """Read some rows of a file, which are in its order; a file is dropped with the last of its wanted rows."""
        if number not in self._open:
            self._open[number] = self._opened(number)
        opened = self._open[number]
        self._left[number] -= len(rows)
        if not self._left[number]:
            del self._open[number]
        sizes = [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
        ends = np.cumsum(sizes)
        return [
            _picked(opened.read_row_group(group, self._columns, use_threads=False), some - (ends[group] - sizes[group]))
            for group, some in _grouped(np.searchsorted(ends, rows, "right"), rows)
        ]

    def _opened(self, number: int) -> pq.ParquetFile:
        file = self._files[number]
        if file.size > WHOLE_BYTES and self._left[number] < WHOLE_SHARE * file.rows:
            with suppress(GenericError):  # some servers do not say that a part is one, which clients mind
                return pq.ParquetFile(object_store.Ranges(self._folder, file.name, file.size), pre_buffer=True)
        return pq.ParquetFile(pa.BufferReader(object_store.read_bytes(self._folder, file.name)))


def _packed(table: pa.Table) -> pa.Table:
    return _with_features(table, PACKED, pack(combine_chunks(table["features"])))


def _unpacked(table: pa.Table) -> pa.Table:
    if "features" not in table.schema.names:
        return table
    return _with_features(table, FEATURES, unpack(combine_chunks(table["features"]), FEATURES.type))


def _with_features(table: pa.Table, column: Column, features: pa.Array) -> pa.Table:
    (field,) = arrow_schema([column])
    return table.set_column(table.schema.get_field_index("features"), field, features)


def _picked(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Pick rows in some order: those that lie together without a copy, where most do."""
    runs = _grouped(rows - np.arange(len(rows)), rows)  # the same for those that lie together
    if len(runs) * LEAST_RUN > len(rows):
        return table.combine_chunks().take(rows)
    return pa.concat_tables([table.slice(run[0], len(run)) for _, run in runs])


def _grouped(numbers: NDArray[np.integer], rows: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Cut rows where their numbers change: each piece with its number.

    >>> [(number, rows.tolist()) for number, rows in _grouped(np.array([4, 4, 7]), np.array([1, 2, 0]))]
    [(4, [1, 2]), (7, [0])]
    """
    cuts = np.flatnonzero(np.diff(numbers)) + 1
    pieces = np.split(rows, cuts)
    return list(zip(numbers[[0, *cuts]].tolist(), pieces, strict=True))
