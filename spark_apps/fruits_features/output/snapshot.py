"""What a run's tables are put together from: each inventoried object's row of the store, or why it has none.

The driver holds narrow rows only (who is where); what is wide is read by those who write or fit it, a selection each.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.cache.selection import Selection, StoreError
from fruits_features.cache.store import Known, StoredFile
from fruits_features.io import arrow
from fruits_features.schemas import QUARANTINE, arrow_schema

LEAST_SHARE = 20_000
"""Rows: to read and measure them takes a core about the second that Spark needs to start its workers."""


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
