"""Compaction of the feature cache: rewrites small segments as one, so that runs read few segments.

Safe while other runs read. The new segment is written beside the others and becomes valid with its manifest. The
superseded segments stay until `vacuum` removes them. Does not know Spark; `job.run` distributes the tasks.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.cache.data_files import PartWriter
from fruits_features.cache.selection import Selection
from fruits_features.cache.store import CacheIndex, CacheSegment, StoredPart
from fruits_features.contract.workload import IMAGES_PER_PARTITION
from fruits_features.io import arrow
from fruits_features.io.prefetch import BackgroundWriter
from fruits_features.schemas import IDENTITY

MAX_SEGMENTS = 16
"""A cache with more segments is compacted. A daily run adds one segment if images have changed."""

MAX_ROWS = 2_000_000
"""Largest number of extracted images in the compacted segments, whose indexes are in the driver's memory at once."""


@dataclass(frozen=True)
class CompactionTask:
    """Rows of several segments that one task rewrites.

    Args:
        number: Position among the parts of the new segment.
        extracted: Rows with features, with the columns of `schemas.IDENTITY`, sorted by key.
        rejected: Rows of the index, as returned by `arrow.to_bytes`.
        cache: URI of the cache's folder.
        segment: URI of the new segment's folder.
        columns: Columns of the cache's files.
    """

    number: int
    extracted: Selection
    rejected: bytes
    cache: str
    segment: str
    columns: tuple[str, ...]

    def write(self) -> StoredPart:
        """Write the rows to the new segment."""
        with closing(BackgroundWriter()) as uploads:
            writer = PartWriter(self.segment, self.number, uploads)
            for table in self.extracted.read(self.cache, [name for name in self.columns if name != "etag"]):
                writer.write(table, self.columns)
            writer.reject(arrow.from_bytes(self.rejected))
            return writer.finish()


def select_segments(segments: Sequence[CacheSegment], max_segments: int) -> list[CacheSegment]:
    """Return the segments to compact: none up to the limit, else all but those larger than all smaller ones together.

    So each rewrite of an image at least doubles its segment, and not every compaction rewrites every image. Segments
    beyond `MAX_ROWS` in total, the largest ones, are left out.
    """
    if len(segments) <= max_segments:
        return []
    by_size = sorted(segments, key=lambda segment: (segment.rows, segment.name))
    sums = np.cumsum([segment.rows for segment in by_size])
    last = max((n for n in range(1, len(by_size)) if by_size[n].rows <= sums[n - 1]), default=1)
    chosen = by_size[: min(last + 1, int(np.searchsorted(sums, MAX_ROWS, "right")))]
    return [segment for segment in segments if segment in chosen] if len(chosen) > 1 else []


def plan(index: CacheIndex, cache: str, segment: str, columns: Sequence[str]) -> list[CompactionTask]:
    """Split the rows of some segments into tasks.

    Only the newest row of each key is kept, because a key can hold only one object.

    Args:
        index: Index of these segments, the newest segment first.
        cache: URI of the cache's folder.
        segment: Name of the new segment.
        columns: Columns of the cache's files.
    """
    key = index.index["key"]
    is_newest = pc.equal(pc.index_in(key, value_set=key), pa.array(np.arange(len(key), dtype=np.int32)))
    rows = index.index.filter(is_newest).sort_by("key")
    extracted, rejected = (rows.filter(mask) for mask in (pc.is_null(rows["stage"]), pc.is_valid(rows["stage"])))
    extracted = extracted.select([*(column.name for column in IDENTITY), "file", "row"])
    tasks = max(1, round(extracted.num_rows / IMAGES_PER_PARTITION))
    ends = np.linspace(0, extracted.num_rows, tasks + 1).astype(int).tolist()
    return [
        CompactionTask(
            number,
            Selection.of(extracted.slice(start, end - start), index.files),
            arrow.to_bytes(rejected if number == 0 else rejected.slice(0, 0)),
            cache,
            f"{cache}/{segment}",
            tuple(columns),
        )
        for number, (start, end) in enumerate(pairwise(ends))
    ]
