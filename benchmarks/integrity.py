"""Measures the cost of page checksums and digests: `python -m benchmarks.integrity`.

The files have the size of the feature cache's files. Times are the least of five repetitions, in one thread.
"""

import argparse
import time
from collections.abc import Callable
from hashlib import md5

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features.cache.data_files import CACHE_FILE_BYTES, GROUP_BYTES
from fruits_features.io import arrow, blocks

IMAGE_BYTES, FEATURES, DESCRIPTORS = 5_000, 843, 40
"""A photograph of Fruits-360: bytes of the file, number of features, number of ORB descriptors of 32 bytes."""
REPETITIONS = 5


def best(call: Callable[[], object]) -> float:
    """Return the least duration of a call in seconds."""
    durations = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return min(durations)


def cached_images() -> pa.Table:
    """Return as many rows as one file of the feature cache holds."""
    random = np.random.default_rng(0)
    rows = CACHE_FILE_BYTES // (4 * FEATURES + 32 * DESCRIPTORS)
    features = random.gamma(0.3, size=(rows, FEATURES)).astype(np.float32).round(3)
    descriptors = random.integers(0, 256, (rows, 32 * DESCRIPTORS), np.uint8)
    columns = {"features": features, "descriptors": descriptors}
    return pa.table({name: [row.tobytes() for row in values] for name, values in columns.items()})


def write(table: pa.Table, *, checksums: bool) -> bytes:
    """Return a file of the feature cache, with page checksums or without."""
    sink = pa.BufferOutputStream()
    group = GROUP_BYTES * table.num_rows // table.nbytes
    options = {"compression": "lz4", "use_dictionary": False, "write_statistics": False, "row_group_size": group}
    pq.write_table(table, sink, write_page_checksum=checksums, **options)
    return bytes(sink.getvalue())


def main() -> None:
    """Print one line per measurement, in microseconds per image."""
    argparse.ArgumentParser("python -m benchmarks.integrity", description=__doc__.partition("\n")[0]).parse_args()
    table = cached_images()
    rows, data = table.num_rows, write(table, checksums=True)
    digests, image = blocks.of_parquet(data), bytes(IMAGE_BYTES)
    source = pa.BufferReader(data)
    durations = {
        "write a file of the cache": best(lambda: write(table, checksums=False)) / rows,
        "write it with page checksums": best(lambda: write(table, checksums=True)) / rows,
        "digests of its blocks": best(lambda: blocks.of_parquet(data)) / rows,
        "read it": best(lambda: pq.read_table(source, use_threads=False)) / rows,
        "read it with page checksums": best(lambda: arrow.from_parquet(data)) / rows,
        "verify its blocks": best(lambda: blocks.digest(data)) / rows,
        "MD5 of a photograph": best(lambda: [md5(image, usedforsecurity=False).digest() for _ in range(rows)]) / rows,
    }
    print(f"{rows} images, {len(data) / rows:.0f} bytes each, {len(digests)} blocks")
    for name, seconds in durations.items():
        print(f"{name:30}{1e6 * seconds:8.1f} µs")


if __name__ == "__main__":
    main()
