"""Measure seconds and peak memory of the driver in a rerun with millions of objects (docs/measurements/speed.md).

    PYTHONPATH=.:spark_apps python -m benchmarks.driver --objects 9000000

The benchmark writes an inventory and the feature cache of the day before. Since then 1 % of the objects have been
replaced, 1 % renamed, 1 % added and 1 % removed. A subprocess then calls the application's functions that run on the
driver. The files of the cache have their sizes but no content, since the driver never opens them.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks import subprocess_measure
from fruits_features.cache.lookup import CacheLookup
from fruits_features.cache.store import CacheIndex, CacheSegment, FeatureCache, StoredFile, StoredPart
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.workload import IMAGES_PER_PARTITION
from fruits_features.io import arrow, blocks
from fruits_features.job.inventory import partition, read_inventory
from fruits_features.output.features_writer import plan_files
from fruits_features.output.snapshot import Snapshot
from fruits_features.schemas import INDEX, INVENTORY, arrow_schema

CORES = 32
CATEGORIES = 131
STORED_BYTES, ROW_BYTES = 2_500, 5_000
"""Bytes of an image's features, as stored and in memory."""
ROWS_PER_FILE = 1_000_000
DAY_US = 86_400_000_000

_T = TypeVar("_T")


def make(folder: Path, objects: int) -> None:
    """Write yesterday's segment of the feature cache and today's inventory."""
    numbers, etags = np.arange(objects), np.random.default_rng(0).bytes(16 * objects)
    store = _store(folder)
    segment = Path(store.folder) / "yesterday-0"
    segment.mkdir(parents=True)
    parts = []
    for first in range(0, objects, IMAGES_PER_PARTITION):
        index = _index(_objects(numbers[first : first + IMAGES_PER_PARTITION], etags))
        parts.append(_store_part(segment, len(parts), index))
    store.complete(CacheSegment(segment.name, "yesterday", tuple(parts)))

    percent = max(1, objects // 100)
    today = numbers[percent:]  # removed
    renamed, replaced, added = (today[start * percent : (start + 1) * percent] for start in range(3))
    fresh = np.random.default_rng(1).bytes(16 * objects)
    pieces = [
        *(
            _objects(today[first : first + ROWS_PER_FILE], etags)
            for first in range(3 * percent, len(today), ROWS_PER_FILE)
        ),
        _objects(renamed, etags, of="Renamed"),
        _objects(replaced, fresh),
        _objects(added, etags),
        _objects(added, fresh, of="Added"),
    ]
    (folder / "inventory").mkdir()
    for number, piece in enumerate(pieces):
        pq.write_table(piece.cast(arrow_schema(INVENTORY)), folder / "inventory" / f"part-{number:05}.parquet")


def drive(folder: Path) -> None:
    """Run the driver's work and print its seconds and memory."""
    print("| work of the driver | seconds |\n|---|--:|")
    inventory = _timed("read and sort the inventory", lambda: read_inventory(str(folder / "inventory")))
    known = _timed("read the index of the feature cache", _store(folder).load)
    lookup = _timed("look up all objects", lambda: CacheLookup.of(inventory, known))
    parts = _timed("partition the new objects", lambda: [*map(arrow.to_bytes, partition(lookup.missing, CORES))])
    index = _index(lookup.missing)
    count = index.num_rows
    fresh = CacheIndex(index, (StoredFile("today", count, count * STORED_BYTES, count * ROW_BYTES),))
    snapshot = _timed("locate each extracted image", lambda: Snapshot.of(lookup, fresh))
    files = _timed("plan the final files", lambda: plan_files(snapshot.extracted, snapshot.files, CORES))
    peak = subprocess_measure.peak_mb()
    sent = sum(map(len, parts)) + sum(len(file.rows.rows) for file in files)
    objects = inventory.num_rows
    print(
        f"\n{objects} objects, {lookup.missing.num_rows} to extract, {len(files)} files: peak {peak:.0f} MB, "
        f"{sent / objects:.0f} bytes per object sent to the tasks."
    )


def _timed(what: str, call: Callable[[], _T]) -> _T:
    started = time.perf_counter()
    result = call()
    print(f"| {what} | {time.perf_counter() - started:.1f} |", flush=True)
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


def _store_part(segment: Path, number: int, index: pa.Table) -> StoredPart:
    """Write a part of a segment: its index, and a sparse file."""
    name, data_file = f"index-{number:05}.parquet", f"described-{number:05}.parquet"
    data = arrow.to_parquet(index, index.num_rows)
    (segment / name).write_bytes(data)
    (segment / data_file).touch()
    os.truncate(segment / data_file, STORED_BYTES * index.num_rows)
    file = StoredFile(data_file, index.num_rows, STORED_BYTES * index.num_rows, ROW_BYTES * index.num_rows, ())
    return StoredPart(name, len(data), blocks.digest(data), (file,))


if __name__ == "__main__":
    subprocess_measure.run("benchmarks.driver", "objects", 9_000_000, make, drive)
