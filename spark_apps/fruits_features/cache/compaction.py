"""Small volumes of the store put together to a larger one, so that runs have few to look into.

Safe against whoever reads meanwhile: what is put together is written beside what is there, counts with its manifest,
and what it supersedes stays where it is until `sweep` finds it old enough. Knows no Spark: `cluster` spreads the tasks.
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
from fruits_features.io import arrow
from fruits_features.io.prefetch import BackgroundWriter
from fruits_features.schemas import IDENTITY

MAX_SEGMENTS = 16
"""A store with more of them is compacted; a daily run adds one where images have changed."""

IMAGES_PER_PART = 12_000
"""About, as in a run's own parts."""

_REASONS = ("stage", "reason", "detail")


@dataclass(frozen=True)
class CompactionTask:
    """Some rows of other volumes that one task writes again.

    Args:
        number: its place among the parts.
        described: the rows, with `schemas.IDENTITY`, sorted by key.
        rejected: rows of the index, as `tables.to_bytes` writes them.
        store: the store's folder.
        volume: the new volume's folder.
        columns: of the store's files.
    """

    number: int
    described: Selection
    rejected: bytes
    store: str
    volume: str
    columns: tuple[str, ...]

    def write(self) -> StoredPart:
        """Write them."""
        with closing(BackgroundWriter()) as uploads:
            writer = PartWriter(self.volume, self.number, uploads)
            for table in self.described.read(self.store, [name for name in self.columns if name != "etag"]):
                writer.write(table, self.columns)
            rejected = arrow.from_bytes(self.rejected)
            writer.note(rejected, {name: rejected[name] for name in _REASONS})
            return writer.finish()


def select_segments(volumes: Sequence[CacheSegment], most: int = MAX_SEGMENTS) -> list[CacheSegment]:
    """Choose the volumes to put together: none while there are few, else all but those larger than all smaller ones.

    So an image is written again when its volume grows to at least its double, not with every compaction.
    """
    if len(volumes) <= most:
        return []
    rising = sorted(volumes, key=lambda volume: (volume.rows, volume.name))
    below = np.cumsum([volume.rows for volume in rising])
    last = max((n for n in range(1, len(rising)) if rising[n].rows <= below[n - 1]), default=1)
    return [volume for volume in volumes if volume in rising[: last + 1]]


def plan(known: CacheIndex, store: str, volume: str, columns: Sequence[str]) -> list[CompactionTask]:
    """Spread what is still wanted of some volumes over tasks.

    Of rows about one key only the newest is: its object is what lies there, if anything does.

    Args:
        known: what these volumes know.
        store: the store's folder.
        volume: the new volume's name.
        columns: of the store's files.
    """
    key = known.index["key"]
    newest = pc.equal(pc.index_in(key, value_set=key), pa.array(np.arange(len(key), dtype=np.int32)))
    rows = known.index.filter(newest).sort_by("key")
    described, rejected = (rows.filter(mask) for mask in (pc.is_null(rows["stage"]), pc.is_valid(rows["stage"])))
    described = described.select([*(column.name for column in IDENTITY), "file", "row"])
    tasks = max(1, round(described.num_rows / IMAGES_PER_PART))
    ends = np.linspace(0, described.num_rows, tasks + 1).astype(int).tolist()
    return [
        CompactionTask(
            number,
            Selection.of(described.slice(start, end - start), known.files),
            arrow.to_bytes(rejected if number == 0 else rejected.slice(0, 0)),
            store,
            f"{store}/{volume}",
            tuple(columns),
        )
        for number, (start, end) in enumerate(pairwise(ends))
    ]
