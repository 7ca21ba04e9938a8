"""Splits a run's images into shards, consecutive rows of the sorted inventory, so that the driver's memory is bounded.

A small run has one shard in the driver's memory. In a large run, tasks read, look up, sort and plan the rows, and pass
them on as files of the run's staging folder. The driver holds some figures per shard and file.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits_features.cache.lookup import CacheLookup
from fruits_features.cache.selection import Selection
from fruits_features.cache.store import CacheIndex, CacheSegment, FeatureCache, StoredFile, StoredPart
from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.io import staging
from fruits_features.io.staging import IN_MEMORY, StagedTable, Staging
from fruits_features.job.buckets import (
    Bound,
    bucket_numbers,
    choose_bounds,
    put_pieces,
    read_all,
    shard_numbers,
    transpose,
)
from fruits_features.job.damage import ReportDamage, undamaged
from fruits_features.job.distribute import Runner
from fruits_features.job.inventory import ROWS, Inventory, InventoryFile, fitted_split, partition, sort
from fruits_features.output.features_writer import FeaturesFile, as_files, plan_file_ends, split_into_files
from fruits_features.output.snapshot import Snapshot, of_split, quarantine, select, training_images

SHARD_BYTES = 32 * 1024 * 1024
"""Size of the inventory per shard: one to two million objects, which take about 1 GB in memory
(docs/measurements/speed.md, "Millions of objects"). A smaller inventory is one shard."""

INDEX_SHARD_BYTES = 3 * SHARD_BYTES
"""Size of the cache's index per shard, which is less compressed."""

SAMPLED_ROWS = 1_000
"""One of this many rows is sampled for the bounds of the shards."""

_A = TypeVar("_A")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Shard:
    """Consecutive rows of the sorted inventory, looked up in the cache.

    Args:
        lookup: The rows, as in `CacheLookup.rows`.
        images: Number of rows.
        reused: Number of rows whose outcome is in the cache.
    """

    lookup: StagedTable
    images: int
    reused: int

    @classmethod
    def of(cls, lookup: CacheLookup, place: Staging) -> "Shard":
        """Stage a lookup."""
        return cls(place.keep(lookup.rows), lookup.rows.num_rows, lookup.reused)


@dataclass(frozen=True)
class Shards:
    """All images of a run, looked up in the cache.

    Args:
        shards: The shards, in the order of the inventory.
        files: Files of the cache.
        fitted_split: Split that the projection is fitted on; `None` for all images.
        place: Place of the rows.
    """

    shards: tuple[Shard, ...]
    files: tuple[StoredFile, ...]
    fitted_split: str | None
    place: Staging

    @classmethod
    def in_memory(cls, inventory: pa.Table, index: CacheIndex) -> "Shards":
        """Look up a small inventory.

        Args:
            inventory: Sorted rows of the inventory.
            index: Index of the cache.
        """
        shard = Shard.of(CacheLookup.of(inventory, index), IN_MEMORY)
        return cls((shard,), index.files, fitted_split(inventory), IN_MEMORY)

    @classmethod
    def staged(
        cls, inventory: Inventory, cache: FeatureCache, segments: Sequence[CacheSegment], runner: Runner, place: Staging
    ) -> "Shards":
        """Look up a large inventory.

        Args:
            inventory: The inventory.
            cache: The feature cache.
            segments: Segments of the cache, the newest first.
            runner: Runs the tasks.
            place: Place of the rows.

        Raises:
            DamagedCacheError: An index of the cache is damaged.
            InventoryError: The inventory is damaged, or it lists no object, or an object twice.
        """
        count = count_shards(inventory, segments)
        parts, files = _parts(segments)
        read = runner.map("read the inventory", _SplitInventory(place, count, SAMPLED_ROWS), inventory.files)
        inventory.check_images(sum(split.images for split in read))
        groups = list(_grouped(parts))
        indexed = (
            runner.map("read the cache's index", ReportDamage(_SplitIndex(place, count, cache)), groups)
            if groups
            else []
        )
        objects, index = transpose(split.pieces for split in read), transpose(undamaged(indexed))
        buckets = [(objects[number], index[number]) for number in sorted(objects)]
        bounds = choose_bounds(chain.from_iterable(split.sample for split in read), count)
        found = transpose(runner.map("look up the cache", _LookUp(place, bounds), buckets))
        pieces = [found[number] for number in sorted(found)]
        shards = runner.map("sort the inventory", _Sort(place, inventory.folder), pieces)
        split = FITTED_SPLIT if any(split.is_fitted for split in read) else None
        return cls(tuple(shards), files, split, place)

    @property
    def images(self) -> int:
        """Number of inventoried objects."""
        return sum(shard.images for shard in self.shards)

    @property
    def reused(self) -> int:
        """Number of objects whose outcome is in the cache."""
        return sum(shard.reused for shard in self.shards)

    @property
    def only(self) -> CacheLookup:
        """The only shard, of a run in memory."""
        (shard,) = self.shards
        return CacheLookup(staging.read(shard.lookup))

    def split_missing(self, runner: Runner, overhead_bytes: int) -> list[list[bytes | str]]:
        """Return the staged rows of the partitions to extract, by shard.

        Args:
            runner: Extracts them.
            overhead_bytes: Cost of an image besides its size (`contract.workload.image_overhead_bytes`).
        """
        if self.images == self.reused:
            return [[] for _ in self.shards]
        if self.place == IN_MEMORY:
            return [[self.place.send(rows) for rows in runner.split(self.only.missing, overhead_bytes)]]
        split = _SplitMissing(self.place, overhead_bytes)
        return runner.map("plan the extraction", split, [shard.lookup for shard in self.shards])

    def snapshot(
        self, runner: Runner, cache: FeatureCache, segment: CacheSegment | None, partitions: Iterable[int]
    ) -> "RunSnapshot":
        """Combine the outcomes in the cache with those of this run.

        Args:
            runner: Runs the tasks.
            cache: The feature cache.
            segment: Segment of this run, with one part per partition; `None` if nothing was extracted.
            partitions: Number of partitions of each shard.

        Raises:
            CacheError: An object has no outcome.
            DamagedCacheError: An index of the segment is damaged.
        """
        parts, files = _parts([segment] if segment else [], len(self.files))
        remaining = iter(parts)
        tasks = [
            (shard.lookup, list(islice(remaining, count))) for shard, count in zip(self.shards, partitions, strict=True)
        ]
        locate = _Locate(self.place, cache, self.fitted_split)
        located = _each(runner, self.place, "locate the features", locate, tasks)
        return RunSnapshot(tuple(located), (*self.files, *files), len(self.files), self.fitted_split, self.place)


@dataclass(frozen=True)
class ShardSnapshot:
    """Outcome of every image of a shard.

    Args:
        extracted: Location of each extracted image, as in `Snapshot.extracted`.
        rejected: The other objects, as in `Snapshot.rejected`.
        files: Numbers of the cache's files that hold the images, increasing.
        rows_by_file: Number of images in each of these files.
        images_by_category: Number of images to fit the projection and the recogniser on, by category.
        reasons: Number of rejected objects by reason.
    """

    extracted: StagedTable
    rejected: StagedTable
    files: NDArray[np.int32]
    rows_by_file: NDArray[np.int64]
    images_by_category: Counter[str]
    reasons: Counter[str]


@dataclass(frozen=True)
class RunSnapshot:
    """Outcome of every image of a run.

    Args:
        shards: Outcomes by shard.
        files: Files of the cache.
        earlier_files: Number of files, the first ones, that earlier runs have written.
        fitted_split: Split that the projection is fitted on; `None` for all images.
        place: Place of the rows.
    """

    shards: tuple[ShardSnapshot, ...]
    files: tuple[StoredFile, ...]
    earlier_files: int
    fitted_split: str | None
    place: Staging

    @property
    def extracted(self) -> int:
        """Number of extracted images."""
        return int(sum(shard.rows_by_file.sum() for shard in self.shards))

    @property
    def rejected(self) -> int:
        """Number of rejected objects."""
        return self.reasons.total()

    @property
    def reasons(self) -> Counter[str]:
        """Number of rejected objects by reason."""
        return sum((shard.reasons for shard in self.shards), Counter())

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories of the images to fit on, sorted."""
        return tuple(sorted(self._images_by_category))

    @property
    def _images_by_category(self) -> Counter[str]:
        return sum((shard.images_by_category for shard in self.shards), Counter())

    def quarantine(self, bucket: str) -> Iterator[pa.Table]:
        """Yield the rejected objects as rows of `schemas.QUARANTINE`, shard by shard."""
        for shard in self.shards:
            yield quarantine(bucket, staging.read(shard.rejected))

    def select_earlier(self, runner: Runner) -> list[Selection]:
        """Select the images to fit on whose features earlier runs have extracted."""
        max_selections = max(1, runner.cores // len(self.shards))
        function = _SelectEarlier(self.place, self.fitted_split, max_selections)
        tasks = [
            (shard.extracted, self._files_of(shard), int(np.searchsorted(shard.files, self.earlier_files)))
            for shard in self.shards
        ]
        return list(chain.from_iterable(_each(runner, self.place, "select cached features", function, tasks)))

    def plan_files(self, runner: Runner) -> list[FeaturesFile]:
        """Distribute the extracted images, in order, over files of about equal size."""
        sizes = [self._size_of(shard) for shard in self.shards]
        ends = plan_file_ends(sum(sizes), runner.cores)
        images, before = self._images_by_category, Counter[str]()
        tasks = []
        for shard, start in zip(self.shards, np.cumsum([0.0, *sizes[:-1]]), strict=True):
            tasks.append((shard.extracted, self._files_of(shard), ends - start, before))
            before = before + shard.images_by_category
        plan = _PlanFiles(self.place, self.fitted_split, images)
        return as_files(chain.from_iterable(_each(runner, self.place, "plan the final files", plan, tasks)))

    def _files_of(self, shard: ShardSnapshot) -> tuple[StoredFile, ...]:
        return tuple(self.files[number] for number in shard.files.tolist())

    def _size_of(self, shard: ShardSnapshot) -> float:
        """Return the size of a shard's features in bytes, as stored."""
        averages = [file.size / file.rows for file in self._files_of(shard)]
        return float(np.dot(averages, shard.rows_by_file))


def count_shards(inventory: Inventory, segments: Iterable[CacheSegment]) -> int:
    """Return the number of shards. A run with one shard stays in memory."""
    index = sum(part.size for segment in segments for part in segment.parts)
    return max(1, math.ceil(inventory.size / SHARD_BYTES), math.ceil(index / INDEX_SHARD_BYTES))


@dataclass(frozen=True)
class _Split:
    """A part of the inventory in buckets.

    Args:
        pieces: Rows by the number of their bucket.
        images: Number of rows.
        is_fitted: Whether rows belong to `FITTED_SPLIT`.
        sample: Some rows.
    """

    pieces: Mapping[int, StagedTable]
    images: int
    is_fitted: bool
    sample: list[Bound]


@dataclass(frozen=True)
class _SplitInventory:
    """Task that puts the rows of a file of the inventory into buckets, and samples one of some number of rows."""

    place: Staging
    buckets: int
    sampled_rows: int

    def __call__(self, file: InventoryFile) -> _Split:
        rows = file.read()
        sampled = rows.take(pa.array(np.arange(0, rows.num_rows, self.sampled_rows)))
        sample = list(zip(sampled["category"].to_pylist(), sampled["key"].to_pylist(), strict=True))
        pieces = put_pieces(rows, bucket_numbers(rows["etag"], self.buckets), self.place)
        return _Split(pieces, rows.num_rows, fitted_split(rows) is not None, sample)


@dataclass(frozen=True)
class _SplitIndex:
    """Task that puts the rows of some parts of the cache's index into buckets."""

    place: Staging
    buckets: int
    cache: FeatureCache

    def __call__(self, parts: Sequence[tuple[str, StoredPart, int]]) -> Mapping[int, StagedTable]:
        index = self.cache.read_parts(parts).without_transient().index
        return put_pieces(index, bucket_numbers(index["etag"], self.buckets), self.place)


@dataclass(frozen=True)
class _LookUp:
    """Task that looks up the objects of a bucket and puts them into shards."""

    place: Staging
    bounds: Sequence[Bound]

    def __call__(self, bucket: tuple[Sequence[StagedTable], Sequence[StagedTable]]) -> Mapping[int, StagedTable]:
        objects, index = bucket
        lookup = CacheLookup.of(read_all(objects, ROWS), CacheIndex(read_all(index, CacheIndex.empty().index.schema)))
        return put_pieces(lookup.rows, shard_numbers(lookup.rows, self.bounds), self.place)


@dataclass(frozen=True)
class _Sort:
    """Task that sorts a shard."""

    place: Staging
    folder: str

    def __call__(self, pieces: Sequence[StagedTable]) -> Shard:
        return Shard.of(CacheLookup(sort(read_all(pieces), self.folder)), self.place)


@dataclass(frozen=True)
class _SplitMissing:
    """Task that splits the rows to extract of a shard into partitions."""

    place: Staging
    overhead_bytes: int

    def __call__(self, lookup: StagedTable) -> list[bytes | str]:
        missing = CacheLookup(staging.read(lookup)).missing
        parts = partition(missing, 1, self.overhead_bytes) if missing.num_rows else ()
        return [self.place.send(rows) for rows in parts]


@dataclass(frozen=True)
class _Locate:
    """Task that combines the outcomes of a shard."""

    place: Staging
    cache: FeatureCache
    fitted_split: str | None

    def __call__(self, work: tuple[StagedTable, Sequence[tuple[str, StoredPart, int]]]) -> ShardSnapshot:
        lookup, parts = work
        snapshot = Snapshot.of(CacheLookup(staging.read(lookup)), self.cache.read_parts(parts))
        return ShardSnapshot(
            self.place.keep(snapshot.extracted),
            self.place.keep(snapshot.rejected),
            snapshot.files,
            snapshot.rows_by_file,
            snapshot.images_by_category(self.fitted_split),
            snapshot.reasons,
        )


@dataclass(frozen=True)
class _SelectEarlier:
    """Task that selects the images to fit on of a shard, whose files are the first ones."""

    place: Staging
    fitted_split: str | None
    max_selections: int

    def __call__(self, work: tuple[StagedTable, Sequence[StoredFile], int]) -> list[Selection]:
        extracted, files, earlier_files = staging.read(work[0]), *work[1:]
        mask = pc.and_(pc.less(extracted["file"], earlier_files), of_split(extracted, self.fitted_split))
        return select(extracted.filter(mask), files, self.max_selections, self.place)


@dataclass(frozen=True)
class _PlanFiles:
    """Task that distributes the images of a shard over the final files."""

    place: Staging
    fitted_split: str | None
    images: Counter[str]

    def __call__(
        self, work: tuple[StagedTable, Sequence[StoredFile], NDArray[np.float64], Counter[str]]
    ) -> list[tuple[int, Selection]]:
        staged, files, ends, before = work
        extracted = staging.read(staged)
        training = training_images(extracted, self.fitted_split, self.images, before)
        return split_into_files(extracted, training, files, ends, self.place)


def _each(
    runner: Runner, place: Staging, description: str, function: Callable[[_A], _T], arguments: Sequence[_A]
) -> list[_T]:
    """Call a function with each argument, in tasks unless the rows are in memory.

    Raises:
        DamagedCacheError: A file of the cache is damaged.
    """
    call = ReportDamage(function)
    return undamaged(map(call, arguments) if place == IN_MEMORY else runner.map(description, call, arguments))


def _parts(
    segments: Iterable[CacheSegment], first_file: int = 0
) -> tuple[list[tuple[str, StoredPart, int]], tuple[StoredFile, ...]]:
    """Return the parts of segments, as `FeatureCache.read_parts` takes them, and all their files.

    Args:
        segments: Segments, the newest first.
        first_file: Number of the first file.
    """
    parts: list[tuple[str, StoredPart, int]] = []
    files: list[StoredFile] = []
    for segment in segments:
        for part in segment.parts:
            parts.append((segment.name, replace(part, files=()), first_file + len(files)))
            files.extend(replace(file, name=f"{segment.name}/{file.name}") for file in part.files)
    return parts, tuple(files)


def _grouped(parts: Iterable[tuple[str, StoredPart, int]]) -> Iterator[list[tuple[str, StoredPart, int]]]:
    """Yield consecutive parts in groups with indexes of about `INDEX_SHARD_BYTES` in total."""
    group: list[tuple[str, StoredPart, int]] = []
    for part in parts:
        group.append(part)
        if sum(stored.size for _, stored, _ in group) >= INDEX_SHARD_BYTES:
            yield group
            group = []
    if group:
        yield group
