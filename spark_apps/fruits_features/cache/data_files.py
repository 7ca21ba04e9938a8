"""Writes and reads the files of the feature cache. Does not know Spark.

The files are Parquet with row groups of a few megabytes. Features are stored as bytes, because Parquet's lists take
several times as long to write and read. A reader of many rows fetches the complete file in one request. A reader of few
rows fetches their row groups only. Both verify what they have fetched (`io.blocks`).
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

from fruits_features.cache.store import REASON_COLUMNS, StoredFile, StoredPart
from fruits_features.io import arrow, blocks, object_store
from fruits_features.io.arrow import combine_chunks
from fruits_features.io.prefetch import BackgroundWriter
from fruits_features.io.vectors import pack, unpack
from fruits_features.schemas import FEATURES, IDENTITY, INDEX, PACKED, Column, arrow_schema

CACHE_FILE_BYTES = 32 * 1024 * 1024
"""Approximate size of a file before compression. Bounds the memory of its writer and its readers."""

GROUP_BYTES = 4 * 1024 * 1024
"""Approximate size of a row group before compression: the amount that is read for a single row."""

FULL_READ_SHARE = 0.25
"""Share of a file's rows from which the complete file is fetched: one larger request is faster than several."""

MIN_RUN_ROWS = 8
"""Average number of consecutive rows from which slices are faster than a copy."""

FULL_READ_BYTES = 1024 * 1024
"""Size up to which a file is always fetched completely: ranges of it would take as long."""


class PartWriter:
    """Writes one part of a segment: the files of one task and their index.

    The part becomes valid when the result of `finish` is in a manifest.

    Args:
        folder: URI of the segment's folder.
        number: Number of the part; file names sort by it.
        uploads: Uploads the files in the background.
    """

    def __init__(self, folder: str, number: int, uploads: BackgroundWriter) -> None:
        self._folder, self._uploads = folder, uploads
        self._stem = f"{number:05}-{secrets.token_hex(4)}"  # another attempt at the same part writes other names
        self._files: list[StoredFile] = []
        self._index: list[pa.Table] = []

    def write(self, images: pa.Table, columns: Sequence[str]) -> None:
        """Write extracted images as one file.

        Args:
            images: Rows with the columns of `schemas.IDENTITY` and those to store.
            columns: Names of the columns to store.
        """
        name, memory = f"described-{self._stem}-{len(self._files):05}.parquet", images.nbytes
        group_rows = max(1, GROUP_BYTES * images.num_rows // memory)
        data = arrow.to_parquet(_pack_features(images.select(columns)), group_rows)
        self._uploads.call(object_store.write_bytes, self._folder, name, data)
        location = {"file": np.full(images.num_rows, len(self._files)), "row": np.arange(images.num_rows)}
        self._add_to_index(images, {key: pa.array(values) for key, values in location.items()})
        self._files.append(StoredFile(name, images.num_rows, len(data), memory, blocks.of_parquet(data)))

    def reject(self, rejected: pa.Table) -> None:
        """Add rejected images to the index.

        Args:
            rejected: Rows with the columns of `schemas.IDENTITY` and `REASON_COLUMNS`.
        """
        self._add_to_index(rejected, {name: rejected[name] for name in REASON_COLUMNS})

    def _add_to_index(self, rows: pa.Table, values: Mapping[str, pa.Array | pa.ChunkedArray]) -> None:
        """Add rows to the index.

        Args:
            rows: Rows with the columns of `schemas.IDENTITY`.
            values: Other columns of the index: the location of the features, or the reason of the rejection.
        """
        schema = arrow_schema(INDEX)
        given = {**{column.name: rows[column.name] for column in IDENTITY}, **values}
        nulls = pa.nulls(rows.num_rows)
        columns = [given.get(field.name, nulls).cast(field.type) for field in schema]
        self._index.append(pa.Table.from_arrays(columns, schema=schema))

    def finish(self) -> StoredPart:
        """Write the index and return the part's entry for the manifest."""
        name = f"index-{self._stem}.parquet"
        table = pa.concat_tables([arrow_schema(INDEX).empty_table(), *self._index])
        data = arrow.to_parquet(table, max(1, table.num_rows))
        self._uploads.call(object_store.write_bytes, self._folder, name, data)
        return StoredPart(name, len(data), blocks.digest(data), tuple(self._files))


class RowReader:
    """Reads rows of the cache's files in any order.

    Args:
        folder: URI of the cache's folder.
        files: Files that contain the rows.
        row_counts: Number of rows to read in all, by the file's position in `files`.
        columns: Names of the columns to read.
    """

    def __init__(
        self, folder: str, files: Sequence[StoredFile], row_counts: Counter[int], columns: Sequence[str]
    ) -> None:
        self._folder, self._files, self._columns = folder, files, list(columns)
        self._remaining = Counter(row_counts)
        self._open_files: dict[int, pq.ParquetFile] = {}

    def read(self, file: NDArray[np.int32], row: NDArray[np.int64]) -> pa.Table:
        """Read rows.

        Args:
            file: Position in `files` of each row's file, int32, n values.
            row: Position of each row in its file, int64, n values.

        Returns:
            n rows in the given order.

        Raises:
            DamagedFileError: A file is missing or damaged.
        """
        order = np.lexsort((row, file))
        tables: list[pa.Table] = []
        for number, rows in _group(file[order], row[order]):
            tables.extend(self._read_file(number, rows))
        return _unpack_features(_take(pa.concat_tables(tables), np.argsort(order)).combine_chunks())

    def _read_file(self, number: int, rows: NDArray[np.int64]) -> list[pa.Table]:
        """Read rows of one file, given in the file's order. Close the file after the last of its requested rows."""
        if number not in self._open_files:
            self._open_files[number] = self._open(number)
        opened = self._open_files[number]
        self._remaining[number] -= len(rows)
        if not self._remaining[number]:
            del self._open_files[number]
        sizes = [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
        ends = np.cumsum(sizes)
        return [
            _take(
                opened.read_row_group(group, self._columns, use_threads=False), positions - (ends[group] - sizes[group])
            )
            for group, positions in _group(np.searchsorted(ends, rows, "right"), rows)
        ]

    def _open(self, number: int) -> pq.ParquetFile:
        file = self._files[number]
        if file.size > FULL_READ_BYTES and self._remaining[number] < FULL_READ_SHARE * file.rows:
            with suppress(GenericError):  # some servers answer ranges without status 206, which obstore rejects
                return blocks.open_parquet(self._folder, file.name, file.blocks)
        data = blocks.read(self._folder, file.name, file.blocks)
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)


def _pack_features(table: pa.Table) -> pa.Table:
    return _with_features(table, PACKED, pack(combine_chunks(table["features"])))


def _unpack_features(table: pa.Table) -> pa.Table:
    if "features" not in table.schema.names:
        return table
    return _with_features(table, FEATURES, unpack(combine_chunks(table["features"]), FEATURES.type))


def _with_features(table: pa.Table, column: Column, features: pa.Array) -> pa.Table:
    (field,) = arrow_schema([column])
    return table.set_column(table.schema.get_field_index("features"), field, features)


def _take(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Return rows in the given order. Slice the table without a copy if most rows are consecutive."""
    runs = _group(rows - np.arange(len(rows)), rows)  # the difference is equal for consecutive rows
    if len(runs) * MIN_RUN_ROWS > len(rows):
        return table.combine_chunks().take(rows)
    return pa.concat_tables([table.slice(run[0], len(run)) for _, run in runs])


def _group(numbers: NDArray[np.integer], rows: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Split rows where their numbers change, and return each group with its number.

    >>> [(number, rows.tolist()) for number, rows in _group(np.array([4, 4, 7]), np.array([1, 2, 0]))]
    [(4, [1, 2]), (7, [0])]
    """
    starts = np.flatnonzero(np.diff(numbers)) + 1
    groups = np.split(rows, starts)
    return list(zip(numbers[[0, *starts]].tolist(), groups, strict=True))
