"""Rows of the feature cache that one task reads, wherever they are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fruits_features.cache.data_files import FILE_BYTES, RowReader
from fruits_features.cache.store import StoredFile
from fruits_features.contract.errors import RunError
from fruits_features.io import arrow
from fruits_features.io.prefetch import prefetch_map


class CacheError(RunError):
    """The store is not what its index says; the message tells the way out."""


@dataclass(frozen=True)
class Selection:
    """Some rows of the store, in the order in which they are wanted: what one task reads.

    Args:
        rows: as `tables.to_bytes` writes them: `key`, `split`, `category`, `etag`, and by `file` and `row` the place;
            `file` counts `files`.
        files: those that the rows are in.
    """

    rows: bytes
    files: tuple[StoredFile, ...]

    @classmethod
    def of(cls, rows: pa.Table, files: Sequence[StoredFile]) -> "Selection":
        """Select rows whose `file` counts the files given."""
        used, file = np.unique(rows["file"].to_numpy(), return_inverse=True)
        place = rows.schema.get_field_index("file")
        own = rows.set_column(place, "file", pa.array(file, pa.int32()))
        return cls(arrow.to_bytes(own), tuple(files[number] for number in used.tolist()))

    def read(self, folder: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read the rows' labels and some of the store's columns, a bounded number of rows at a time.

        Args:
            folder: of the store.
            columns: without `etag`.

        Raises:
            StoreError: when a row is another object's.
        """
        rows = arrow.from_bytes(self.rows).combine_chunks()
        file = rows["file"].to_numpy()
        reader = RowReader(folder, self.files, Counter(file.tolist()), ["etag", *columns])
        ends = bytes_of(rows["file"], self.files, "memory").cumsum()
        shares = np.arange(0, ends[-1] if rows.num_rows else 0, FILE_BYTES)
        starts = np.unique(np.append(np.searchsorted(ends, shares), len(ends)))
        chunks = (rows.slice(start, end - start) for start, end in pairwise(starts.tolist()))
        return prefetch_map(partial(_with_columns, reader, columns), chunks)


def bytes_of(file: pa.ChunkedArray, files: Sequence[StoredFile], kind: str) -> NDArray[np.float64]:
    """Tell for each row how many bytes its file's rows have on average: `size` as stored, or `memory`."""
    average = np.array([getattr(one, kind) / max(1, one.rows) for one in files])
    return np.asarray(average[file.to_numpy()], np.float64)


def _with_columns(reader: RowReader, columns: Sequence[str], rows: pa.Table) -> pa.Table:
    read = reader.read(rows["file"].to_numpy(), rows["row"].to_numpy())
    if not read["etag"].equals(rows["etag"]):
        raise CacheError(
            "The store of described images holds other rows than its index says; remove its folder, which costs no "
            "more than that the next run describes all images again."
        )
    for name in columns:
        rows = rows.append_column(read.schema.field(name), read[name])
    return rows
