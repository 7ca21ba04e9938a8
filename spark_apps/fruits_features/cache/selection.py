"""Selections of the feature cache's rows, one per task."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits_features.cache.data_files import RowReader
from fruits_features.cache.store import StoredFile
from fruits_features.contract.errors import RunError
from fruits_features.io import staging
from fruits_features.io.blocks import DamagedFileError
from fruits_features.io.prefetch import prefetch_map
from fruits_features.io.staging import IN_MEMORY, Staging

TABLE_BYTES = 16 * 1024 * 1024
"""Approximate size of the tables that `Selection.read` yields.

Half of a cache file. While a table is processed, the next one is read and the last one is written. Small tables use
the same memory again; see docs/measurements/constants.md.
"""


class CacheError(RunError):
    """The feature cache has no outcome for an object. The message names the fix."""


@dataclass(frozen=True)
class Selection:
    """Rows of the cache that one task reads, in order.

    Args:
        rows: Table as returned by `Staging.send`: labels, `etag`, and the location of the features as `file` and
            `row`. `file` is a position in `files`.
        files: Files that contain the rows.
    """

    rows: bytes | str
    files: tuple[StoredFile, ...]

    @classmethod
    def of(cls, rows: pa.Table, files: Sequence[StoredFile], place: Staging = IN_MEMORY) -> "Selection":
        """Select rows whose `file` is a position in the given files."""
        used, file = np.unique(rows["file"].to_numpy(), return_inverse=True)
        column = rows.schema.get_field_index("file")
        renumbered = rows.set_column(column, "file", pa.array(file, pa.int32()))
        return cls(place.send(renumbered), tuple(files[number] for number in used.tolist()))

    def read(self, folder: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows with some of the cache's columns, in tables of bounded size.

        Args:
            folder: URI of the cache's folder.
            columns: Names of the cache's columns to add, without `etag`.

        Raises:
            DamagedFileError: A file is missing or damaged, or a row belongs to another object.
        """
        rows = staging.read(self.rows).combine_chunks()
        file = rows["file"].to_numpy()
        reader = RowReader(folder, self.files, Counter(file.tolist()), ["etag", *columns])
        ends = row_bytes(rows["file"], self.files, "memory").cumsum()
        shares = np.arange(0, ends[-1] if rows.num_rows else 0, TABLE_BYTES)
        starts = np.unique(np.append(np.searchsorted(ends, shares), len(ends)))
        chunks = (rows.slice(start, end - start) for start, end in pairwise(starts.tolist()))
        return prefetch_map(partial(_with_columns, reader, self.files, columns), chunks)


def row_bytes(file: pa.ChunkedArray, files: Sequence[StoredFile], measure: str) -> NDArray[np.float64]:
    """Return the size of each row in bytes, as the average of its file.

    Args:
        file: Position in `files` of each row's file.
        files: Files of the cache.
        measure: `size` for bytes as stored, `memory` for bytes in memory.
    """
    average = np.array([getattr(stored, measure) / max(1, stored.rows) for stored in files])
    return np.asarray(average[file.to_numpy()], np.float64)


def _with_columns(reader: RowReader, files: Sequence[StoredFile], columns: Sequence[str], rows: pa.Table) -> pa.Table:
    read = reader.read(rows["file"].to_numpy(), rows["row"].to_numpy())
    differs = pc.not_equal(read["etag"], rows["etag"])
    if pc.any(differs).as_py():
        number = rows["file"][pc.index(differs, value=True).as_py()].as_py()
        raise DamagedFileError(files[number].name, "it contains other rows than its index lists")
    for name in columns:
        rows = rows.append_column(read.schema.field(name), read[name])
    return rows
