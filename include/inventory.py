"""The inventory: what a run reads, fixed before any cluster exists.

Lists the bucket once and writes what it saw as Parquet, in batches: memory does not grow with the bucket. Images that
arrive later belong to the next run. Looking into the images is the Spark application's business.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features.schemas import INVENTORY, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_s3 import S3Client

SPLITS = frozenset({"Training", "Test"})
"""Folder names that name a split when they come first below the prefix, as in Fruits-360."""

SCHEMA = arrow_schema(INVENTORY)
BATCH_ROWS = 50_000


@dataclass
class Summary:
    """What an inventory holds. `digest` is equal for equal keys and contents."""

    images: int = 0
    size_bytes: int = 0
    uncategorised: int = 0
    categories: set[str] = field(default_factory=set)
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256, repr=False)

    def add(self, row: dict[str, Any]) -> None:
        """Count one row."""
        self.images += 1
        self.size_bytes += row["size"]
        if row["category"] is None:
            self.uncategorised += 1
        else:
            self.categories.add(row["category"])
        self._hash.update(f"{row['key']}\0{row['etag']}\n".encode())

    @property
    def digest(self) -> str:
        """SHA-256 over keys and etags in S3's own order (by the key's UTF-8 bytes)."""
        return self._hash.hexdigest()


def list_objects(s3: S3Client, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Every object below a prefix as an inventory row; the consoles' empty folder markers are left out."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for listed in page.get("Contents", []):
            if listed["Size"] == 0 and listed["Key"].endswith("/"):
                continue
            split, category = split_and_category(listed["Key"].removeprefix(prefix))
            yield {
                "key": listed["Key"],
                "size": listed["Size"],
                "etag": listed["ETag"].strip('"'),
                "last_modified": listed["LastModified"],
                "split": split,
                "category": category,
            }


def split_and_category(relative_key: str) -> tuple[str | None, str | None]:
    """Read split and category from the folders of a key below the image prefix.

    >>> split_and_category("Training/Apple Golden 2/3_100.jpg")
    ('Training', 'Apple Golden 2')
    >>> split_and_category("shop 7/monday/Limes/17.jpg")
    (None, 'Limes')
    >>> split_and_category("Test/stray.jpg"), split_and_category("stray.jpg")
    (('Test', None), (None, None))
    """
    folders = [folder for folder in relative_key.split("/")[:-1] if folder]
    split = folders.pop(0) if folders and folders[0] in SPLITS else None
    return split, folders[-1] if folders else None


def write(rows: Iterable[dict[str, Any]], sink: IO[bytes]) -> Summary:
    """Write inventory rows as one Parquet file.

    Args:
        rows: as from `list_objects`.
        sink: a binary file open for writing.
    """
    summary = Summary()
    remaining = iter(rows)
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for first in remaining:
            batch = list(islice(chain([first], remaining), BATCH_ROWS))
            for row in batch:
                summary.add(row)
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=SCHEMA))
    return summary
