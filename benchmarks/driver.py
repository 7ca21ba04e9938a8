"""Measure seconds and peak memory of inventory, lookup and planning with millions of objects.

    PYTHONPATH=.:spark_apps python -m benchmarks.driver --objects 10000000

The benchmark writes an inventory and the feature cache of the day before. Since then 1 % of the objects have been
replaced, 1 % renamed, 1 % added and 1 % removed. A subprocess then makes the application's calls that plan a run; with
`--first`, the cache is empty. Tasks run in further processes, one after the other, as large as an executor's. The files
of the cache have their sizes but no content, since planning never opens them. docs/measurements/speed.md has the
figures.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks import subprocess_measure
from fruits_features.cache.store import CacheSegment, FeatureCache, StoredFile, StoredPart
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.workload import IMAGE_OVERHEAD_BYTES, IMAGES_PER_PARTITION
from fruits_features.io import arrow, blocks, staging
from fruits_features.io.blocks import Block
from fruits_features.io.staging import Staging
from fruits_features.job.distribute import Runner
from fruits_features.job.inventory import Inventory, partition
from fruits_features.job.shards import Shards, count_shards
from fruits_features.schemas import INDEX, INVENTORY, arrow_schema

CORES = 32
CATEGORIES = 131
STORED_BYTES, ROW_BYTES = 2_500, 5_000
"""Bytes of an image's features, as stored and in memory."""
BLOCKS_PER_PART = 17
"""Blocks of the files of 12,000 images: row groups of 4 MB in memory, and a footer for each 32 MB."""
ROWS_PER_FILE = 2_000_000
DAY_US = 86_400_000_000

_A = TypeVar("_A")
_T = TypeVar("_T")


class ProcessRunner:
    """Runs tasks in one process at a time, and records their time and memory."""

    cores = CORES

    def __init__(self) -> None:
        self.tasks, self.seconds, self.peak_mb = 0, 0.0, 0.0

    def split(self, inventory: pa.Table, overhead_bytes: int) -> list[pa.Table]:
        """Split rows into tables that take about equally long."""
        return list(partition(inventory, CORES, overhead_bytes))

    def map(self, _: str, function: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:
        """Call a function with each argument in a process of its own."""
        with ProcessPoolExecutor(1, get_context("spawn")) as processes:
            results = list(processes.map(_measured, [function] * len(arguments), arguments))
        self.tasks += len(results)
        self.seconds += sum(seconds for _, seconds, _ in results)
        self.peak_mb = max(self.peak_mb, *(peak for _, _, peak in results))
        return [result for result, _, _ in results]


def _measured(function: Callable[[_A], _T], argument: _A) -> tuple[_T, float, float]:
    started = time.perf_counter()
    result = function(argument)
    return result, time.perf_counter() - started, subprocess_measure.peak_mb()


def make(folder: Path, objects: int, *, first: bool) -> None:
    """Write yesterday's segment of the feature cache and today's inventory."""
    numbers, etags = np.arange(objects), np.random.default_rng(0).bytes(16 * objects)
    if not first:
        store = _store(folder)
        pieces = (numbers[start : start + IMAGES_PER_PARTITION] for start in range(0, objects, IMAGES_PER_PARTITION))
        _write_segment(store, "yesterday-0", (_objects(piece, etags) for piece in pieces))
    percent = max(1, objects // 100)
    today = numbers[percent:]  # removed
    renamed, replaced, added = (today[start * percent : (start + 1) * percent] for start in range(3))
    fresh = np.random.default_rng(1).bytes(16 * objects)
    listed = chain(
        (
            _objects(today[start : start + ROWS_PER_FILE], etags)
            for start in range(3 * percent, len(today), ROWS_PER_FILE)
        ),
        (_objects(renamed, etags, of="Renamed"), _objects(replaced, fresh)),
        (_objects(added, etags), _objects(added, fresh, of="Added")),
    )
    (folder / "inventory").mkdir()
    for number, piece in enumerate(listed):
        path = folder / "inventory" / f"part-{number:05}.parquet"
        pq.write_table(piece.cast(arrow_schema(INVENTORY)), path, compression="zstd")


def plan(folder: Path) -> None:
    """Make the calls that plan a run, and print their time and memory."""
    print("| work | seconds of the driver | peak MB | tasks | seconds of a core | peak MB |\n|---|--:|--:|--:|--:|--:|")
    cache, inventory = _store(folder), Inventory.of(str(folder / "inventory"))
    segments = _timed("list the cache's segments", lambda _: cache.use())
    place = Staging(f"{folder}/staging" if count_shards(inventory, segments) > 1 else None)
    shards = _timed("look up all objects", lambda runner: _look_up(inventory, cache, segments, runner, place))
    missing = _timed("plan the extraction", lambda runner: shards.split_missing(runner, IMAGE_OVERHEAD_BYTES))
    counts = [len(rows) for rows in missing]
    today = _timed("(invented extraction)", lambda _: _extract(cache, list(chain.from_iterable(missing))))
    snapshot = _timed("locate each extracted image", lambda runner: shards.snapshot(runner, cache, today, counts))
    _timed("select cached features", snapshot.select_earlier)
    files = _timed("plan the final files", snapshot.plan_files)
    objects, peak = shards.images, subprocess_measure.peak_mb()
    print(
        f"\n{objects:,} objects in {len(shards.shards)} shards, {objects - shards.reused:,} to extract, {len(files)} "
        f"files: the driver takes {peak:.0f} MB."
    )


def _look_up(
    inventory: Inventory, cache: FeatureCache, segments: Sequence[CacheSegment], runner: Runner, place: Staging
) -> Shards:
    if place.folder is None:
        return Shards.in_memory(inventory.read(), cache.load(segments))
    return Shards.staged(inventory, cache, segments, runner, place)


def _extract(cache: FeatureCache, partitions: Sequence[bytes | str]) -> CacheSegment:
    """Write the segment of a run in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        return processes.submit(_write_today, cache, partitions).result()


def _write_today(cache: FeatureCache, partitions: Sequence[bytes | str]) -> CacheSegment:
    return _write_segment(cache, "today-0", map(staging.read, partitions))


def _timed(what: str, call: Callable[[Runner], _T]) -> _T:
    runner, started = ProcessRunner(), time.perf_counter()
    result = call(cast("Runner", runner))
    wall_s = time.perf_counter() - started - runner.seconds
    figures = f"{wall_s:.1f} | {subprocess_measure.peak_mb():.0f} | {runner.tasks} | {runner.seconds:.1f}"
    print(f"| {what} | {figures} | {runner.peak_mb:.0f} |", flush=True)
    return result


def _store(folder: Path) -> FeatureCache:
    arguments = Arguments(bucket="fruits", inventory=f"{folder}/inventory", output=f"{folder}/run", run="today")
    return FeatureCache.of(f"{folder}/described", arguments, None)


def _objects(numbers: NDArray[np.int64], etags: bytes, of: str = "Fruit") -> pa.Table:
    """Return rows of an inventory. Their ETags have the entropy of MD5s."""
    categories = [f"{of} {number % CATEGORIES:03}" for number in numbers.tolist()]
    named = zip(categories, numbers.tolist(), strict=True)
    return pa.table(
        {
            "key": [f"images/Training/{category}/{number:09}_100.jpg" for category, number in named],
            "size": np.full(len(numbers), 5_000),
            "etag": [etags[16 * number : 16 * number + 16].hex() for number in numbers.tolist()],
            "last_modified": pa.array(np.full(len(numbers), DAY_US), pa.timestamp("us", tz="UTC")),
            "split": ["Training"] * len(numbers),
            "category": categories,
        }
    )


def _write_segment(cache: FeatureCache, name: str, pieces: Iterable[pa.Table]) -> CacheSegment:
    """Write a segment with one part per piece of the inventory."""
    folder = Path(cache.folder) / name
    folder.mkdir(parents=True)
    segment = CacheSegment(name, name, tuple(_write_part(folder, n, piece) for n, piece in enumerate(pieces)))
    cache.complete(segment)
    return segment


def _write_part(segment: Path, number: int, objects: pa.Table) -> StoredPart:
    """Write a part of a segment: its index, and a sparse file."""
    name, data_file, count = f"index-{number:05}.parquet", f"described-{number:05}.parquet", objects.num_rows
    data = arrow.to_parquet(_index(objects), count)
    digests = tuple(Block(end, blocks.digest(b"")) for end in range(BLOCKS_PER_PART))
    (segment / name).write_bytes(data)
    (segment / data_file).touch()
    os.truncate(segment / data_file, STORED_BYTES * count)
    file = StoredFile(data_file, count, STORED_BYTES * count, ROW_BYTES * count, digests)
    return StoredPart(name, len(data), blocks.digest(data), (file,))


def _index(objects: pa.Table) -> pa.Table:
    """Return the index of extracted objects, all in one file."""
    count = objects.num_rows
    values = {"by_content": np.ones(count, bool), "file": np.zeros(count, np.int32), "row": np.arange(count)}
    schema = arrow_schema(INDEX)
    columns = [
        objects[name]
        if name in objects.schema.names
        else pa.array(values.get(name, [None] * count), schema.field(name).type)
        for name in schema.names
    ]
    return pa.table(columns, schema=schema)


def main() -> None:
    """Write the data, and plan a run on it in a subprocess."""
    parser = argparse.ArgumentParser("python -m benchmarks.driver", description="Measure the planning of a run.")
    parser.add_argument("--objects", type=int, default=10_000_000, help="number of objects (default: %(default)s)")
    parser.add_argument("--first", action="store_true", help="measure a first run, with an empty cache")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        plan(options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.objects, first=options.first)
        command = [sys.executable, "-m", "benchmarks.driver", "--folder", folder]
        subprocess.run(command, check=True)  # noqa: S603 - this module


if __name__ == "__main__":
    main()
