"""Write the inventory of a run: the list of its objects, fixed before the cluster is created.

`listing` or `s3_inventory` yield the objects. They are written in batches, to files of bounded length, so that memory
and disk do not grow with the bucket. Images that arrive later belong to the next run. The Spark application opens the
images.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fruits_features.contract import sealed
from fruits_features.contract.image_keys import TEST_SPLIT, VALIDATION_SPLIT, as_split, split_and_category
from fruits_features.contract.layout import FITTED_SPLIT, INVENTORY_DIGESTS
from fruits_features.schemas import INVENTORY, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from include.inventory.image_filter import ImageFilter

SCHEMA = arrow_schema(INVENTORY)
LISTING_SCHEMA = pa.schema([SCHEMA.field(name) for name in ("key", "size", "etag", "last_modified")])
"""Columns that S3 returns for an object. The other columns are derived from its key."""

BATCH_ROWS = 50_000
"""Rows that are processed at once, and smallest number of rows in a row group but the last."""
MAX_PART_ROWS = 2_000_000
"""Largest number of rows in a file, about 80 MB. A bucket of 100 million objects makes fifty files, one per task."""


@dataclass
class Summary:
    """Totals of an inventory. Inventories with the same keys and contents have the same `digest` in any order."""

    images: int = 0
    size_bytes: int = 0
    uncategorised: int = 0
    categories: set[str] = field(default_factory=set)
    splits: Counter[str | None] = field(default_factory=Counter)
    _sum: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(4, np.uint64), repr=False)

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows to the totals."""
        self.images += rows.num_rows
        self.size_bytes += pc.sum(rows["size"], min_count=0).as_py()
        self.uncategorised += rows["category"].null_count
        self.categories.update(pc.unique(rows["category"]).drop_null().to_pylist())
        self.splits.update(rows["split"].to_pylist())
        pairs = zip(rows["key"].to_pylist(), rows["etag"].to_pylist(), strict=True)
        hashes = b"".join(hashlib.sha256(f"{key}\0{etag}".encode()).digest() for key, etag in pairs)
        self._sum += np.frombuffer(hashes, "<u8").reshape(-1, 4).sum(axis=0, dtype=np.uint64)

    @property
    def fitted(self) -> int:
        """Number of images that the projection is fitted on: those of Training, or all if there are none."""
        return self.splits[FITTED_SPLIT] or self.images

    @property
    def warnings(self) -> list[str]:
        """Sentences about splits that are probably not what the folders mean."""
        warnings = []
        held_out = [name for name in (VALIDATION_SPLIT, TEST_SPLIT) if self.splits[name]]
        if held_out and not self.splits[FITTED_SPLIT]:
            warnings.append(
                f"No image is in a folder {FITTED_SPLIT}, so the projection is fitted on all images, those of "
                f"{' and '.join(held_out)} included."
            )
        if self.splits[FITTED_SPLIT] and self.splits[None]:
            warnings.append(
                f"{self.splits[None]:,} images are in no split, so the projection is not fitted on them. Move them "
                f"into the folder {FITTED_SPLIT}, or upload them to another prefix."
            )
        if named := sorted(filter(as_split, self.categories)):
            warnings.append(
                f"The category {', '.join(map(repr, named))} has the name of a split. The folder of a split contains "
                "the folders of the categories."
            )
        return warnings

    @property
    def digest(self) -> str:
        """Sum of the objects' SHA-256 over key and ETag: four 64-bit numbers in hexadecimal, independent of order."""
        return self._sum.astype("<u8").tobytes().hex()


class ImageRows:
    """Inventory rows of the images among listed objects. Iterate once.

    Args:
        listed: Rows of the schema `LISTING_SCHEMA`.
        image_filter: Rules for the objects that are images.

    Attributes:
        left_out: Number of the other objects by kind, after the iteration.
    """

    def __init__(self, listed: Iterable[pa.RecordBatch], image_filter: ImageFilter) -> None:
        self._listed, self._image_filter = listed, image_filter
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield batches of the schema `SCHEMA`."""
        for batch in self._listed:
            images, left_out = self._image_filter.apply(batch)
            self.left_out.update(left_out)
            yield _labelled(images, self._image_filter.prefix)


def _labelled(images: pa.RecordBatch, prefix: str) -> pa.RecordBatch:
    """Return rows of the schema `LISTING_SCHEMA` with split and category."""
    labels = [split_and_category(key.removeprefix(prefix)) for key in images["key"].to_pylist()]
    columns = [*images.columns, pa.array([split for split, _ in labels], pa.string())]
    return pa.RecordBatch.from_arrays([*columns, pa.array([name for _, name in labels], pa.string())], schema=SCHEMA)


def write(batches: Iterable[pa.RecordBatch], store: Callable[[str, IO[bytes]], None]) -> Summary:
    """Write inventory rows as Parquet files, then the digests of these files. Return the totals of the rows.

    Args:
        batches: Inventory rows.
        store: Function that stores a file, given its name and a binary file open for reading. Calls are sequential.
    """
    summary = Summary()
    row_groups = _row_groups(batches)
    row_group = next(row_groups, None)
    part = 0
    digests: dict[str, str] = {}
    while row_group is not None:
        with tempfile.TemporaryFile() as file:
            rows = 0
            with pq.ParquetWriter(file, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
                while row_group is not None and rows < MAX_PART_ROWS:
                    summary.add(row_group)
                    writer.write_batch(row_group)
                    rows += row_group.num_rows
                    row_group = next(row_groups, None)
            file.seek(0)
            digests[f"part-{part:05}.parquet"] = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            store(f"part-{part:05}.parquet", file)
        part += 1
    if digests:
        store(INVENTORY_DIGESTS, io.BytesIO(json.dumps(sealed.seal({"files": digests}), indent=1).encode()))
    return summary


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches of at least `BATCH_ROWS`, each of which becomes a row group."""
    pending: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if batch.num_rows:
            pending.append(batch)
            rows += batch.num_rows
        if rows >= BATCH_ROWS:
            yield pa.concat_batches(pending)
            pending, rows = [], 0
    if pending:
        yield pa.concat_batches(pending)
