"""What runs in the cluster's Python workers: inventory rows in, described or rejected images out, as Arrow batches.

Knows no Spark: the same generator runs in a test or a plain process.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from fruits_features.description import Description, describe_image
from fruits_features.fetch import Fetcher, Wanted, open_bucket
from fruits_features.rejections import Reason, Rejected, Stage
from fruits_features.schemas import arrow_schema, staged_columns

CHUNK = 256
"""Images fetched together, while the chunk before them is described."""

_Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What a worker needs to know besides the inventory.

    Args:
        bucket: the bucket that holds the images.
        families: names of the families, in the order of their features.
        max_bytes: a larger object is rejected without being fetched.
        max_pixels: a larger image is rejected without being decoded.
        include_pixels: also give every image's decoded pixels.
    """

    bucket: str
    families: tuple[str, ...]
    max_bytes: int
    max_pixels: int
    include_pixels: bool

    def describe_batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Describe the inventory rows of a partition, in their order, one row for every row.

        While one chunk is described, the next one travels.
        """
        fetcher = Fetcher(open_bucket(self.bucket), self.max_bytes)
        with ThreadPoolExecutor(1) as background:
            ahead = None
            for chunk in _chunks(batches):
                started = chunk, background.submit(self._fetch, fetcher, chunk)
                if ahead:
                    yield self._describe(ahead[0], ahead[1].result())
                ahead = started
            if ahead:
                yield self._describe(ahead[0], ahead[1].result())

    @staticmethod
    def _fetch(fetcher: Fetcher, chunk: Sequence[_Row]) -> list[bytes | Rejected]:
        """Fetch a chunk's objects; what lies outside any category is not worth a request."""
        sound = [row for row in chunk if row["category"] is not None]
        fetched = iter(fetcher.fetch([Wanted(row["key"], row["size"], row["etag"]) for row in sound]))
        outside = Rejected(Stage.FETCH, Reason.NO_CATEGORY, "The object lies outside any category folder.")
        return [outside if row["category"] is None else next(fetched) for row in chunk]

    def _describe(self, chunk: Sequence[_Row], fetched: Sequence[bytes | Rejected]) -> pa.RecordBatch:
        schema = arrow_schema(staged_columns(include_pixels=self.include_pixels))
        rows = [self._row(row, outcome) for row, outcome in zip(chunk, fetched, strict=True)]
        return pa.RecordBatch.from_pydict(
            {name: [row.get(name) for row in rows] for name in schema.names}, schema=schema
        )

    def _row(self, entry: _Row, fetched: bytes | Rejected) -> _Row:
        """Make the staged row of one image."""
        known = {
            "path": f"s3://{self.bucket}/{entry['key']}",
            "size": entry["size"],
            "split": entry["split"],
            "category": entry["category"],
        }
        outcome = fetched if isinstance(fetched, Rejected) else describe_image(fetched, self.families, self.max_pixels)
        if isinstance(outcome, Rejected):
            return known | {"stage": str(outcome.stage), "reason": str(outcome.reason), "detail": outcome.detail}
        return known | self._described(outcome)

    def _described(self, description: Description) -> _Row:
        height, width = description.pixels.shape[:2]
        row: _Row = {
            "width": width,
            "height": height,
            "keypoints": len(description.descriptors),
            "descriptors": description.descriptors.tobytes(),
            "features": description.features.tobytes(),
        }
        return row | {"image": description.pixels.tobytes()} if self.include_pixels else row


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[list[_Row]]:
    """Cut a partition's batches into chunks of rows."""
    for batch in batches:
        for start in range(0, batch.num_rows, CHUNK):
            yield batch.slice(start, CHUNK).to_pylist()
