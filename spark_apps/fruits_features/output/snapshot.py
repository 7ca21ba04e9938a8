"""What a run's tables are put together from: each inventoried object's row of the store, or why it has none.

The driver holds narrow rows only (who is where); what is wide is read by those who write or fit it, a selection each.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits_features.cache.data_files import FILE_BYTES, RowReader
from fruits_features.cache.store import Known, StoredFile
from fruits_features.contract.errors import RunError
from fruits_features.io import arrow
from fruits_features.io.prefetch import map_ahead
from fruits_features.schemas import QUARANTINE, arrow_schema

LEAST_SHARE = 20_000
"""Rows: to read and measure them takes a core about the second that Spark needs to start its workers."""


class StoreError(RunError):
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
        return map_ahead(partial(_with_columns, reader, columns), chunks)


def bytes_of(file: pa.ChunkedArray, files: Sequence[StoredFile], kind: str) -> NDArray[np.float64]:
    """Tell for each row how many bytes its file's rows have on average: `size` as stored, or `memory`."""
    average = np.array([getattr(one, kind) / max(1, one.rows) for one in files])
    return np.asarray(average[file.to_numpy()], np.float64)


@dataclass(frozen=True)
class Assembly:
    """Every inventoried object's outcome, in the inventory's order.

    Args:
        described: where each described image is: as `Selection.rows`, but that `file` counts `files`.
        rejected: the other objects, with `stage`, `reason` and `detail`.
        files: of the store.
        earlier_files: how many of them, the first ones, earlier runs have written.
    """

    described: pa.Table
    rejected: pa.Table
    files: tuple[StoredFile, ...]
    earlier_files: int

    @property
    def of_earlier_runs(self) -> pa.ChunkedArray:
        """Tell of each described image whether an earlier run has described it."""
        return pc.less(self.described["file"], self.earlier_files)

    def of_split(self, split: str | None) -> pa.ChunkedArray:
        """Tell of each described image whether it is of a split; `None` is all."""
        whose = self.described["split"]
        return pc.is_in(whose, value_set=pa.array([split])) if split else pc.or_(pc.is_null(whose), pc.is_valid(whose))

    @property
    def reasons(self) -> Counter[str]:
        """How many objects were rejected, by reason."""
        return Counter(self.rejected["reason"].to_pylist())

    def select(self, mask: pa.ChunkedArray, tasks: int) -> list[Selection]:
        """Select the described images for which a mask is true, in about equal shares for as many tasks at most."""
        rows = self.described.filter(mask)
        shares = min(tasks, max(1, rows.num_rows // LEAST_SHARE))
        ends = np.linspace(0, rows.num_rows, shares + 1).astype(int).tolist()
        slices = [rows.slice(start, end - start) for start, end in pairwise(ends) if end > start]
        return [Selection.of(one, self.files) for one in slices]

    def quarantine(self, bucket: str) -> pa.Table:
        """Give the rejected objects as `schemas.QUARANTINE`."""
        schema = arrow_schema(QUARANTINE)
        rows = self.rejected.append_column("path", paths(bucket, self.rejected["key"]))
        return pa.Table.from_arrays([rows[name] for name in schema.names], schema=schema)


@dataclass(frozen=True)
class Recall:
    """What is known of an inventory's objects before anything is described.

    Args:
        inventory: its rows.
        known: by earlier runs.
        positions: of each object in the index of what is known; null where it has to be described.
    """

    inventory: pa.Table
    known: Known
    positions: pa.Array

    @classmethod
    def of(cls, inventory: pa.Table, known: Known) -> "Recall":
        """Look objects up, but for those that are in no category today: they will be rejected for that."""
        categorised = pc.is_valid(arrow.whole(inventory["category"]))
        positions = pc.if_else(categorised, known.find(inventory), pa.scalar(None, pa.int64()))
        return cls(inventory, known, positions)

    @property
    def reused(self) -> int:
        """How many objects need not be described."""
        return len(self.positions) - int(self.positions.null_count)

    @property
    def wanted(self) -> pa.Table:
        """The inventory of what has to be described."""
        return self.inventory.filter(pc.is_null(self.positions))

    def completed(self, fresh: Known) -> Assembly:
        """Add what this run has described.

        Raises:
            StoreError: when that lacks an object.
        """
        found = fresh.find(self.wanted)
        if found.null_count:
            raise StoreError(
                f"{len(found)} objects were to be described, but {found.null_count} have no outcome: "
                "report this, it is a bug."
            )
        behind = pc.add(found, self.known.index.num_rows)
        positions = pc.replace_with_mask(self.positions, pc.is_null(self.positions), behind)
        known = self.known.and_also(fresh)
        outcomes, whole = known.rows(positions), self.inventory
        for name in outcomes.schema.names:
            whole = whole.append_column(name, outcomes[name])
        is_described = pc.is_null(whole["stage"])
        described = whole.filter(is_described).select(["key", "split", "category", "etag", "file", "row"])
        return Assembly(described, whole.filter(pc.invert(is_described)), known.files, len(self.known.files))


def paths(bucket: str, keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make the addresses of a bucket's objects."""
    return pc.binary_join_element_wise(f"s3://{bucket}/", keys, "")


def _with_columns(reader: RowReader, columns: Sequence[str], rows: pa.Table) -> pa.Table:
    read = reader.read(rows["file"].to_numpy(), rows["row"].to_numpy())
    if not read["etag"].equals(rows["etag"]):
        raise StoreError(
            "The store of described images holds other rows than its index says; remove its folder, which costs no "
            "more than that the next run describes all images again."
        )
    for name in columns:
        rows = rows.append_column(read.schema.field(name), read[name])
    return rows
