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
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fruits_features.contract import sealed
from fruits_features.contract.layout import INVENTORY_DIGESTS
from fruits_features.schemas import INVENTORY, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

SPLITS = frozenset({"Training", "Test"})
"""Names of folders directly below the prefix that are splits, as in Fruits-360."""

SCHEMA = arrow_schema(INVENTORY)
LISTING_SCHEMA = pa.schema([SCHEMA.field(name) for name in ("key", "size", "etag", "last_modified")])
"""Columns that S3 returns for an object. The other columns are derived from its key."""

BATCH_ROWS = 50_000
MAX_PART_ROWS = 5_000_000
"""Largest number of rows in a file, about 200 MB. A bucket of 100 million objects makes twenty files."""


@dataclass
class Summary:
    """Totals of an inventory. Inventories with the same keys and contents have the same `digest` in any order."""

    images: int = 0
    size_bytes: int = 0
    uncategorised: int = 0
    categories: set[str] = field(default_factory=set)
    _sum: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(4, np.uint64), repr=False)

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows to the totals."""
        self.images += rows.num_rows
        self.size_bytes += pc.sum(rows["size"], min_count=0).as_py()
        self.uncategorised += rows["category"].null_count
        self.categories.update(pc.unique(rows["category"]).drop_null().to_pylist())
        pairs = zip(rows["key"].to_pylist(), rows["etag"].to_pylist(), strict=True)
        hashes = b"".join(hashlib.sha256(f"{key}\0{etag}".encode()).digest() for key, etag in pairs)
        self._sum += np.frombuffer(hashes, "<u8").reshape(-1, 4).sum(axis=0, dtype=np.uint64)

    @property
    def digest(self) -> str:
        """Sum of the objects' SHA-256 over key and ETag: four 64-bit numbers in hexadecimal, independent of order."""
        return self._sum.astype("<u8").tobytes().hex()


def inventory_rows(listed: pa.RecordBatch, prefix: str, excluded: frozenset[str]) -> pa.RecordBatch:
    """Return inventory rows for listed objects, without the empty folder markers that S3's console creates.

    Args:
        listed: Rows of the schema `LISTING_SCHEMA`, all below the prefix.
        prefix: Prefix of the images.
        excluded: Keys of objects that are not images.
    """
    marker = pc.and_(pc.equal(listed["size"], 0), pc.ends_with(listed["key"], "/"))
    other = pc.is_in(listed["key"], pa.array(excluded, pa.string()))
    kept = listed.filter(pc.invert(pc.or_(marker, other)))
    labels = [split_and_category(key.removeprefix(prefix)) for key in kept["key"].to_pylist()]
    columns = [*kept.columns, pa.array([split for split, _ in labels], pa.string())]
    return pa.RecordBatch.from_arrays([*columns, pa.array([name for _, name in labels], pa.string())], schema=SCHEMA)


def split_and_category(relative_key: str) -> tuple[str | None, str | None]:
    """Return split and category from the folders of a key below the image prefix.

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
