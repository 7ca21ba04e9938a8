"""What the driver of a rerun does with millions of objects: seconds and peak memory, the figures of docs/measurements/speed.md.

    PYTHONPATH=.:spark_apps python -m benchmarks.driver --objects 9000000

Makes up an inventory and the store of the day before, of which 1 % of the objects have been replaced, 1 % renamed, 1 %
added and 1 % removed, and does all that the driver does alone, with the application's own functions, in a process of
its own. The stored files have their sizes, but no bytes: the driver never opens them.
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
from fruits_features.io import arrow
from fruits_features.job.inventory import partition, read_inventory
from fruits_features.output.features_writer import plan_files
from fruits_features.output.snapshot import Snapshot
from fruits_features.schemas import INDEX, INVENTORY, arrow_schema

CORES = 32
CATEGORIES = 131
STORED_BYTES, ROW_BYTES = 2_500, 5_000
"""Of a described image, as stored and in memory."""
ROWS_A_FILE = 1_000_000
DAY_US = 86_400_000_000

_T = TypeVar("_T")


def make(folder: Path, objects: int) -> None:
    """Write yesterday's volume of the store and today's inventory."""
    numbers, etags = np.arange(objects), np.random.default_rng(0).bytes(16 * objects)
    store = _store(folder)
    volume = Path(store.folder) / "yesterday-0"
    volume.mkdir(parents=True)
    parts = []
    for first in range(0, objects, IMAGES_PER_PARTITION):
        index = _index(_objects(numbers[first : first + IMAGES_PER_PARTITION], etags))
        parts.append(_store_part(volume, len(parts), index))
    store.complete(CacheSegment(volume.name, "yesterday", tuple(parts)))

    percent = max(1, objects // 100)
    today = numbers[percent:]  # removed
    renamed, replaced, added = (today[start * percent : (start + 1) * percent] for start in range(3))
    fresh = np.random.default_rng(1).bytes(16 * objects)
    pieces = [
        *(_objects(today[first : first + ROWS_A_FILE], etags) for first in range(3 * percent, len(today), ROWS_A_FILE)),
        _objects(renamed, etags, of="Renamed"),
        _objects(replaced, fresh),
        _objects(added, etags),
        _objects(added, fresh, of="Added"),
    ]
    (folder / "inventory").mkdir()
    for number, piece in enumerate(pieces):
        pq.write_table(piece.cast(arrow_schema(INVENTORY)), folder / "inventory" / f"part-{number:05}.parquet")


def drive(folder: Path) -> None:
    """Do what the driver does, and print what it took."""
    print("| what the driver does | seconds |\n|---|--:|")
    inventory = _timed("read and sort the inventory", lambda: read_inventory(str(folder / "inventory")))
    known = _timed("read the store's index", _store(folder).load)
    lookup = _timed("look every object up", lambda: CacheLookup.of(inventory, known))
    parts = _timed("cut what is new into parts", lambda: [*map(arrow.to_bytes, partition(lookup.missing, CORES))])
    index = _index(lookup.missing)
    count = index.num_rows
    fresh = CacheIndex(index, (StoredFile("today", count, count * STORED_BYTES, count * ROW_BYTES),))
    snapshot = _timed("locate each extracted image", lambda: Snapshot.of(lookup, fresh))
    files = _timed("plan the final files", lambda: plan_files(snapshot.extracted, snapshot.files, CORES))
    peak = subprocess_measure.peak_mb()
    travel = sum(map(len, parts)) + sum(len(file.rows.rows) for file in files)
    objects = inventory.num_rows
    print(
        f"\n{objects} objects, {lookup.missing.num_rows} to describe, {len(files)} files: {peak:.0f} MB at most, "
        f"{travel / objects:.0f} bytes an object to the tasks."
    )


def _timed(what: str, call: Callable[[], _T]) -> _T:
    began = time.perf_counter()
    result = call()
    print(f"| {what} | {time.perf_counter() - began:.1f} |", flush=True)
    return result


def _store(folder: Path) -> FeatureCache:
    arguments = Arguments(bucket="fruits", inventory=f"{folder}/inventory", output=f"{folder}/run", run="today")
    return FeatureCache.of(f"{folder}/described", arguments, None)


def _objects(numbers: NDArray[np.int64], etags: bytes, of: str = "Fruit") -> pa.Table:
    """Make rows of an inventory, whose ETags have the entropy of MD5s."""
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
    """Make the index of described objects, all in one file."""
    count = objects.num_rows
    told = {"by_content": np.ones(count, bool), "file": np.zeros(count, np.int32), "row": np.arange(count)}
    schema = arrow_schema(INDEX)
    columns = [
        objects[name]
        if name in objects.schema.names
        else pa.array(told.get(name, [None] * count), schema.field(name).type)
        for name in schema.names
    ]
    return pa.table(columns, schema=schema)


def _store_part(volume: Path, number: int, index: pa.Table) -> StoredPart:
    """Write a part of a volume: its index, and a file without bytes."""
    name, described = f"index-{number:05}.parquet", f"described-{number:05}.parquet"
    data = arrow.to_parquet(index, index.num_rows)
    (volume / name).write_bytes(data)
    (volume / described).touch()
    os.truncate(volume / described, STORED_BYTES * index.num_rows)
    file = StoredFile(described, index.num_rows, STORED_BYTES * index.num_rows, ROW_BYTES * index.num_rows)
    return StoredPart(name, len(data), (file,))


if __name__ == "__main__":
    subprocess_measure.run("benchmarks.driver", "objects", 9_000_000, make, drive)
