"""Lookup of an inventory's objects in the feature cache."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.cache.store import CacheIndex
from fruits_features.io.arrow import combine_chunks


@dataclass(frozen=True)
class CacheLookup:
    """The objects of an inventory, looked up in the cache before anything is extracted.

    Args:
        inventory: Rows of the inventory.
        index: Index of the cache.
        positions: Row of each object in the index, int64; null if its features have to be extracted.
    """

    inventory: pa.Table
    index: CacheIndex
    positions: pa.Array

    @classmethod
    def of(cls, inventory: pa.Table, index: CacheIndex) -> "CacheLookup":
        """Look up every object that is in a category. The others are rejected for that reason in any case."""
        has_category = pc.is_valid(combine_chunks(inventory["category"]))
        positions = pc.if_else(has_category, index.find(inventory), pa.scalar(None, pa.int64()))
        return cls(inventory, index, positions)

    @property
    def reused(self) -> int:
        """Number of objects whose outcome is in the cache."""
        return len(self.positions) - int(self.positions.null_count)

    @property
    def missing(self) -> pa.Table:
        """Rows of the inventory whose features have to be extracted."""
        return self.inventory.filter(pc.is_null(self.positions))
