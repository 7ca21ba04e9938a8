"""The outcome of every object of a run: where its features are in the cache, or why it was rejected.

The driver holds narrow rows only. Tasks read the wide columns, one selection each.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.cache.lookup import CacheLookup
from fruits_features.cache.selection import CacheError, Selection
from fruits_features.cache.store import CacheIndex, StoredFile
from fruits_features.io.arrow import combine_chunks
from fruits_features.recogniser.sample import NONE, TrainingImages
from fruits_features.schemas import QUARANTINE, arrow_schema

MIN_SELECTION_ROWS = 20_000
"""Rows per selection at least. One core reads and measures them in about the second that Spark's workers need to
start."""

_LOCATION = ["key", "split", "category", "etag", "file", "row"]


@dataclass(frozen=True)
class Snapshot:
    """The outcome of every inventoried object, in the order of the inventory.

    Args:
        extracted: Location of each extracted image, as in `Selection.rows`; `file` is an index into `files`.
        rejected: The other objects, with `stage`, `reason` and `detail`.
        files: Files of the cache.
        earlier_files: Number of files, the first ones, that earlier runs have written.
    """

    extracted: pa.Table
    rejected: pa.Table
    files: tuple[StoredFile, ...]
    earlier_files: int

    @classmethod
    def of(cls, lookup: CacheLookup, extracted: CacheIndex) -> "Snapshot":
        """Combine the outcomes in the cache with those of this run.

        Raises:
            CacheError: An object has no outcome.
        """
        added = extracted.find(lookup.missing)
        if added.null_count:
            raise CacheError(
                f"{added.null_count} of {len(added)} objects to extract have no outcome: report this, it is a bug."
            )
        shifted = pc.add(added, lookup.index.index.num_rows)
        positions = pc.replace_with_mask(lookup.positions, pc.is_null(lookup.positions), shifted)
        index = lookup.index.concat(extracted)
        outcomes, rows = index.rows(positions), lookup.inventory
        for name in outcomes.schema.names:
            rows = rows.append_column(name, outcomes[name])
        is_extracted = pc.is_null(rows["stage"])
        return cls(
            rows.filter(is_extracted).select(_LOCATION),
            rows.filter(pc.invert(is_extracted)),
            index.files,
            len(lookup.index.files),
        )

    @property
    def num_rows(self) -> int:
        """Number of inventoried objects."""
        return int(self.extracted.num_rows + self.rejected.num_rows)

    @property
    def of_earlier_runs(self) -> pa.ChunkedArray:
        """Mask of the images whose features earlier runs have extracted."""
        return pc.less(self.extracted["file"], self.earlier_files)

    def of_split(self, split: str | None) -> pa.ChunkedArray:
        """Return whether each extracted image belongs to a split. Every image belongs to `None`."""
        splits = self.extracted["split"]
        if split is None:
            return pc.or_(pc.is_null(splits), pc.is_valid(splits))
        return pc.is_in(splits, value_set=pa.array([split]))

    def training_images(self, split: str | None) -> TrainingImages:
        """Return the role of each extracted image in the training of the recogniser, which knows one split."""
        labels, trained = combine_chunks(self.extracted["category"]), combine_chunks(self.of_split(split))
        categories = tuple(sorted(labels.filter(trained).drop_null().unique().to_pylist()))
        code = pc.index_in(labels, value_set=pa.array(categories, labels.type)).fill_null(NONE)
        return TrainingImages.of(categories, np.asarray(pc.if_else(trained, code, NONE), np.int32))

    @property
    def reasons(self) -> Counter[str]:
        """Number of rejected objects by reason."""
        return Counter(self.rejected["reason"].to_pylist())

    def select(self, mask: pa.ChunkedArray, max_selections: int) -> list[Selection]:
        """Select the extracted images for which a mask is true, in selections of about equal size."""
        rows = self.extracted.filter(mask)
        count = min(max_selections, max(1, rows.num_rows // MIN_SELECTION_ROWS))
        ends = np.linspace(0, rows.num_rows, count + 1).astype(int).tolist()
        slices = [rows.slice(start, end - start) for start, end in pairwise(ends) if end > start]
        return [Selection.of(selected, self.files) for selected in slices]

    def quarantine(self, bucket: str) -> pa.Table:
        """Return the rejected objects as rows of `schemas.QUARANTINE`."""
        schema = arrow_schema(QUARANTINE)
        rows = self.rejected.append_column("path", paths(bucket, self.rejected["key"]))
        return pa.Table.from_arrays([rows[name] for name in schema.names], schema=schema)


def paths(bucket: str, keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the URIs of objects of a bucket."""
    return pc.binary_join_element_wise(f"s3://{bucket}/", keys, "")
