"""Lookup of an inventory's objects in the feature cache."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.cache.store import OUTCOME_COLUMNS, CacheIndex
from fruits_features.io.arrow import combine_chunks


@dataclass(frozen=True)
class CacheLookup:
    """The objects of an inventory, looked up in the cache before anything is extracted.

    Args:
        rows: Rows of the inventory with the columns `OUTCOME_COLUMNS` of the index. These are null if the features have
            to be extracted.
    """

    rows: pa.Table

    @classmethod
    def of(cls, inventory: pa.Table, index: CacheIndex) -> "CacheLookup":
        """Look up every object that is in a category. The others are rejected for that reason in any case."""
        has_category = pc.is_valid(combine_chunks(inventory["category"]))
        positions = pc.if_else(has_category, index.find(inventory), pa.scalar(None, pa.int64()))
        outcomes = index.rows(positions)
        columns = [*inventory.columns, *outcomes.columns]
        return cls(pa.Table.from_arrays(columns, names=[*inventory.column_names, *OUTCOME_COLUMNS]))

    @property
    def is_missing(self) -> pa.ChunkedArray:
        """Mask of the objects whose features have to be extracted."""
        return pc.and_(pc.is_null(self.rows["file"]), pc.is_null(self.rows["stage"]))

    @property
    def reused(self) -> int:
        """Number of objects whose outcome is in the cache."""
        return int(self.rows.num_rows - pc.sum(self.is_missing, min_count=0).as_py())

    @property
    def missing(self) -> pa.Table:
        """Rows of the inventory whose features have to be extracted."""
        return self.rows.filter(self.is_missing).drop_columns(OUTCOME_COLUMNS)
