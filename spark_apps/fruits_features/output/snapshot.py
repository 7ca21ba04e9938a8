"""The outcome of objects of a run: where their features are in the cache, or why they were rejected.

The rows are narrow. Tasks read the wide columns, one selection each.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits_features.cache.lookup import CacheLookup
from fruits_features.cache.selection import CacheError, Selection
from fruits_features.cache.store import OUTCOME_COLUMNS, CacheIndex, StoredFile
from fruits_features.io.arrow import combine_chunks
from fruits_features.io.staging import Staging
from fruits_features.recogniser.sample import NONE, TrainingImages
from fruits_features.schemas import QUARANTINE, arrow_schema

MIN_SELECTION_ROWS = 20_000
"""Smallest number of rows per selection. One core reads and measures them in about a second, in which Spark's workers
start."""

_LOCATION = ["key", "split", "category", "etag", "file", "row"]


@dataclass(frozen=True)
class Snapshot:
    """The outcome of consecutive objects of the inventory, in its order.

    Args:
        extracted: Location of each extracted image, as in `Selection.rows`; `file` is a position in `files`.
        rejected: The other objects, with `stage`, `reason` and `detail`.
        files: Numbers of the files of the cache that hold the images, increasing.
    """

    extracted: pa.Table
    rejected: pa.Table
    files: NDArray[np.int32]

    @classmethod
    def of(cls, lookup: CacheLookup, extracted: CacheIndex) -> "Snapshot":
        """Combine the outcomes in the cache with those of this run.

        Args:
            lookup: The objects with the outcomes of earlier runs.
            extracted: Index of the others. Its numbers of files differ from those of the lookup.

        Raises:
            CacheError: An object has no outcome.
        """
        rows = _with_outcomes(lookup, extracted)
        is_extracted = pc.is_null(rows["stage"])
        located = rows.filter(is_extracted).select(_LOCATION)
        files, file = np.unique(located["file"].to_numpy(), return_inverse=True)
        column = located.schema.get_field_index("file")
        located = located.set_column(column, "file", pa.array(file, pa.int32()))
        return cls(located, rows.filter(pc.invert(is_extracted)), files)

    @property
    def reasons(self) -> Counter[str]:
        """Number of rejected objects by reason."""
        return Counter(self.rejected["reason"].to_pylist())

    @property
    def rows_by_file(self) -> NDArray[np.int64]:
        """Number of extracted images in each of `files`."""
        return np.bincount(self.extracted["file"].to_numpy(), minlength=len(self.files))

    def images_by_category(self, split: str | None) -> Counter[str]:
        """Return the number of extracted images of a split by category; of all images for `None`."""
        counts = pc.value_counts(self.extracted.filter(of_split(self.extracted, split))["category"])
        return Counter(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))


def _with_outcomes(lookup: CacheLookup, extracted: CacheIndex) -> pa.Table:
    """Return all rows of a lookup with their outcomes.

    Raises:
        CacheError: An object has no outcome.
    """
    is_missing = combine_chunks(lookup.is_missing).to_numpy(zero_copy_only=False)
    if not is_missing.any():
        return lookup.rows
    added = extracted.find(lookup.missing)
    if added.null_count:
        raise CacheError(
            f"{added.null_count} of {len(added)} objects to extract have no outcome; this is a bug, please report it."
        )
    positions = np.arange(lookup.rows.num_rows)
    positions[is_missing] = np.arange(len(added)) + lookup.rows.num_rows
    outcomes = pa.concat_tables([lookup.rows.select(OUTCOME_COLUMNS), extracted.rows(added)]).take(positions)
    objects = lookup.rows.drop_columns(OUTCOME_COLUMNS)
    return pa.Table.from_arrays(
        [*objects.columns, *outcomes.columns], names=[*objects.column_names, *outcomes.column_names]
    )


def of_split(images: pa.Table, split: str | None) -> pa.ChunkedArray:
    """Return whether each image belongs to a split. Every image belongs to `None`."""
    splits = images["split"]
    if split is None:
        return pc.or_(pc.is_null(splits), pc.is_valid(splits))
    return pc.is_in(splits, value_set=pa.array([split]))


def training_images(
    extracted: pa.Table, split: str | None, images: Counter[str], before: Counter[str]
) -> TrainingImages:
    """Return the role of each extracted image in the training of the recogniser, which uses one split.

    Args:
        extracted: Extracted images.
        split: Split of the training images; `None` for all images.
        images: Number of all training images by category.
        before: Number of training images in earlier shards by category.
    """
    categories = tuple(sorted(images))
    labels, trained = combine_chunks(extracted["category"]), combine_chunks(of_split(extracted, split))
    code = pc.index_in(labels, value_set=pa.array(categories, labels.type)).fill_null(NONE)
    counts = (np.array([count[name] for name in categories], np.int64) for count in (images, before))
    return TrainingImages.of(len(categories), np.asarray(pc.if_else(trained, code, NONE), np.int32), *counts)


def select(images: pa.Table, files: Sequence[StoredFile], max_selections: int, staging: Staging) -> list[Selection]:
    """Select extracted images, in selections of about equal size.

    Args:
        images: Location of each image, as in `Snapshot.extracted`.
        files: Files that hold the images.
        max_selections: Largest number of selections.
        staging: Place of the selections' rows.
    """
    count = min(max_selections, max(1, images.num_rows // MIN_SELECTION_ROWS))
    ends = np.linspace(0, images.num_rows, count + 1).astype(int).tolist()
    slices = [images.slice(start, end - start) for start, end in pairwise(ends) if end > start]
    return [Selection.of(selected, files, staging) for selected in slices]


def quarantine(bucket: str, rejected: pa.Table) -> pa.Table:
    """Return rejected objects as rows of `schemas.QUARANTINE`."""
    schema = arrow_schema(QUARANTINE)
    rows = rejected.append_column("path", paths(bucket, rejected["key"]))
    return pa.Table.from_arrays([rows[name] for name in schema.names], schema=schema)


def paths(bucket: str, keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the URIs of objects of a bucket."""
    return pc.binary_join_element_wise(f"s3://{bucket}/", keys, "")
