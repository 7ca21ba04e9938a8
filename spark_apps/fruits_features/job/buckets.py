"""Distributes rows of a large run over buckets, by their ETag, and over shards, by their place in the inventory.

An object and its row of the cache's index meet in the bucket of their ETag: rows with different ETags never match
(`CacheIndex.find`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits_features.io import staging
from fruits_features.io.arrow import combine_chunks
from fruits_features.io.staging import StagedTable, Staging

_MAX_CONCURRENT_FILES = 16

Bound = tuple[str | None, str]
"""Category and key of the first row of a shard."""


def put_pieces(rows: pa.Table, numbers: NDArray[np.int64], place: Staging) -> dict[int, StagedTable]:
    """Store the rows with each number as one table.

    Args:
        rows: n rows.
        numbers: Number of each row's bucket or shard, n values.
        place: Place of the tables.

    Returns:
        The tables by number. Their rows keep their order.
    """
    grouped = rows.take(pa.array(np.argsort(numbers, kind="stable")))
    present, counts = np.unique(numbers, return_counts=True)
    slices = map(grouped.slice, (np.cumsum(counts) - counts).tolist(), counts.tolist())
    with ThreadPoolExecutor(_MAX_CONCURRENT_FILES) as threads:
        return dict(zip(present.tolist(), threads.map(place.keep, slices), strict=True))


def read_all(pieces: Sequence[StagedTable], schema: pa.Schema | None = None) -> pa.Table:
    """Return the rows of some tables, in order."""
    with ThreadPoolExecutor(_MAX_CONCURRENT_FILES) as threads:
        tables = list(threads.map(staging.read, pieces))
    return pa.concat_tables([*([schema.empty_table()] if schema else []), *tables])


def transpose(pieces: Iterable[Mapping[int, StagedTable]]) -> defaultdict[int, list[StagedTable]]:
    """Return the tables of each number, in order."""
    tables: defaultdict[int, list[StagedTable]] = defaultdict(list)
    for by_number in pieces:
        for number, table in by_number.items():
            tables[number].append(table)
    return tables


def bucket_numbers(etags: pa.ChunkedArray, buckets: int) -> NDArray[np.int64]:
    """Return the number of each ETag's bucket, by a hash of its first eight bytes.

    >>> bucket_numbers(pa.chunked_array([["a", "b", "a", ""]]), 1000).tolist()
    [751, 90, 751, 0]
    """
    etag = combine_chunks(etags)
    bounds = np.frombuffer(etag.buffers()[1], np.int32)[etag.offset : etag.offset + len(etag) + 1].astype(np.int64)
    data = np.append(np.frombuffer(etag.buffers()[2] or b"", np.uint8), np.uint8(0))
    hashes = np.zeros(len(etag), np.uint64)
    for nth in range(8):
        at = bounds[:-1] + nth
        hashes = hashes * np.uint64(257) + np.where(at < bounds[1:], data[np.minimum(at, len(data) - 1)], 0).astype(
            np.uint64
        )
    return np.asarray((hashes * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)) % np.uint64(buckets), np.int64)


def choose_bounds(sample: Iterable[Bound], shards: int) -> list[Bound]:
    """Return the first rows of all shards but the first, which have about equal numbers of sampled rows each."""
    rows = sorted(sample, key=_order)
    return [rows[len(rows) * number // shards] for number in range(1, shards)]


def _order(bound: Bound) -> tuple[bool, str, str]:
    """Return the key by which rows are sorted. Rows without a category come last."""
    category, key = bound
    return category is None, category or "", key


def shard_numbers(rows: pa.Table, bounds: Sequence[Bound]) -> NDArray[np.int64]:
    """Return the number of each row's shard: the number of bounds up to it."""
    coded = pc.dictionary_encode(combine_chunks(rows["category"]))
    names = [*coded.dictionary.to_pylist(), None]
    codes = coded.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
    before = [sum(_order((category, ""))[:2] < _order((name, ""))[:2] for category, _ in bounds) for name in names]
    numbers = np.array(before, np.int64)[codes]
    keys = combine_chunks(rows["key"])
    for category, key in bounds:
        if category in names:
            at = np.flatnonzero(codes == names.index(category))
            numbers[at] += np.asarray(pc.greater_equal(keys.take(pa.array(at)), key), np.int64)
    return np.asarray(numbers, np.int64)
