"""The inventory: what a run reads, fixed before any cluster exists.

Written as it is read, in batches and in files of bounded length: neither memory nor disk grow with the bucket. Images
that arrive later belong to the next run. What is in the bucket is told by `include.inventory.listing` or by `include.inventory.s3_inventory`;
looking into the images is the Spark application's business.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fruits_features.schemas import INVENTORY, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

SPLITS = frozenset({"Training", "Test"})
"""Folder names that name a split when they come first below the prefix, as in Fruits-360."""

SCHEMA = arrow_schema(INVENTORY)
LISTED = pa.schema([SCHEMA.field(name) for name in ("key", "size", "etag", "last_modified")])
"""The columns that S3 tells of an object; the others come from its key."""

BATCH_ROWS = 50_000
PART_ROWS = 5_000_000
"""Rows of one file: about 200 MB, so that a bucket of 100 million objects makes twenty."""


@dataclass
class Summary:
    """What an inventory holds. `digest` is equal for equal keys and contents, whatever the order of the rows."""

    images: int = 0
    size_bytes: int = 0
    uncategorised: int = 0
    categories: set[str] = field(default_factory=set)
    _sum: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(4, np.uint64), repr=False)

    def add(self, rows: pa.RecordBatch) -> None:
        """Count some rows."""
        self.images += rows.num_rows
        self.size_bytes += pc.sum(rows["size"], min_count=0).as_py()
        self.uncategorised += rows["category"].null_count
        self.categories.update(pc.unique(rows["category"]).drop_null().to_pylist())
        pairs = zip(rows["key"].to_pylist(), rows["etag"].to_pylist(), strict=True)
        hashes = b"".join(hashlib.sha256(f"{key}\0{etag}".encode()).digest() for key, etag in pairs)
        self._sum += np.frombuffer(hashes, "<u8").reshape(-1, 4).sum(axis=0, dtype=np.uint64)

    @property
    def digest(self) -> str:
        """The sum of each object's SHA-256 over key and ETag, as four numbers of 64 bits: it knows no order."""
        return self._sum.astype("<u8").tobytes().hex()


def inventory_rows(listed: pa.RecordBatch, prefix: str, leave_out: frozenset[str]) -> pa.RecordBatch:
    """Turn what S3 tells of objects into inventory rows; the consoles' empty folder markers are left out.

    Args:
        listed: rows of the schema `LISTED`, all below the prefix.
        prefix: of the images.
        leave_out: keys of objects that are no images.
    """
    marker = pc.and_(pc.equal(listed["size"], 0), pc.ends_with(listed["key"], "/"))
    other = pc.is_in(listed["key"], pa.array(leave_out, pa.string()))
    kept = listed.filter(pc.invert(pc.or_(marker, other)))
    places = [split_and_category(key.removeprefix(prefix)) for key in kept["key"].to_pylist()]
    columns = [*kept.columns, pa.array([split for split, _ in places], pa.string())]
    return pa.RecordBatch.from_arrays([*columns, pa.array([name for _, name in places], pa.string())], schema=SCHEMA)


def split_and_category(relative_key: str) -> tuple[str | None, str | None]:
    """Read split and category from the folders of a key below the image prefix.

    >>> split_and_category("Training/Apple Golden 2/3_100.jpg")
    ('Training', 'Apple Golden 2')
    >>> split_and_category("shop 7/monday/Limes/17.jpg")
    (None, 'Limes')
    >>> split_and_category("Test/stray.jpg"), split_and_category("stray.jpg")
    (('Test', None), (None, None))
    """
    return _of_folder(relative_key.rpartition("/")[0])


@lru_cache(maxsize=1024)
def _of_folder(path: str) -> tuple[str | None, str | None]:
    folders = [folder for folder in path.split("/") if folder]
    split = folders.pop(0) if folders and folders[0] in SPLITS else None
    return split, folders[-1] if folders else None


def write(batches: Iterable[pa.RecordBatch], store: Callable[[str, IO[bytes]], None]) -> Summary:
    """Write inventory rows as Parquet files.

    Args:
        batches: inventory rows.
        store: keeps a file, given its name and a binary file open for reading; is called for one after the other.
    """
    summary = Summary()
    gathered = _gather(batches)
    first = next(gathered, None)
    part = 0
    while first is not None:
        with tempfile.TemporaryFile() as file:
            rows = 0
            with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
                while first is not None and rows < PART_ROWS:
                    summary.add(first)
                    writer.write_batch(first)
                    rows += first.num_rows
                    first = next(gathered, None)
            file.seek(0)
            store(f"part-{part:05}.parquet", file)
        part += 1
    return summary


def _gather(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Make few large batches of many small ones: each becomes a row group."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
            rows += batch.num_rows
        if rows >= BATCH_ROWS:
            yield pa.concat_batches(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_batches(waiting)
