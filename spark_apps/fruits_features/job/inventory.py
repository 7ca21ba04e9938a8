"""The inventory: read, put into the order of the features, and cut into the parts that tasks work on.

The driver does this without Spark: the rows are narrow (about 150 bytes an object in memory, so 9 million objects take
some 1.4 GB), and sorting them here lets the first task start about five seconds earlier than a cold Spark SQL would.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fruits_features.contract.errors import RunError
from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.io import object_store
from fruits_features.io.arrow import combine_chunks
from fruits_features.schemas import INVENTORY, arrow_schema

IMAGES_PER_PART = 12_000
"""About; a part takes some seconds on one core, so that the last ones to finish keep few cores waiting, and a lost one
costs little. Starting one costs 0.2 s (Spark's worker looks into its archives again), so there are not many more."""

_BYTES_LIKE_AN_IMAGE = 40_000
"""Fetching and decoding this many bytes takes about as long as everything that every image needs."""


_LITTLE = 1_000 * _BYTES_LIKE_AN_IMAGE


class InventoryError(RunError, ValueError):
    """The inventory cannot be worked on; the message tells the way out."""


def read_inventory(folder: str) -> pa.Table:
    """Read an inventory, one row an object, sorted as the features are: by category and key.

    Raises:
        InventoryError: when it lists nothing, or an object twice.
    """
    columns = [column for column in INVENTORY if column.name != "last_modified"]
    tables = [
        pq.read_table(
            pa.BufferReader(object_store.read_bytes(folder, name)), columns=[column.name for column in columns]
        )
        for name in object_store.list_files(folder, ".parquet")
    ]
    inventory = pa.concat_tables(
        [arrow_schema(columns).empty_table(), *(table.cast(arrow_schema(columns)) for table in tables)]
    )
    if not inventory.num_rows:
        raise InventoryError(f"The inventory {folder} lists no object; upload images, or check the image prefix.")
    by_key = inventory if _rises(inventory["key"]) else inventory.sort_by("key")
    if not _rises(by_key["key"]):
        keys = by_key["key"].to_pylist()
        twice = next(key for key, after in pairwise(keys) if key == after)
        raise InventoryError(f"The inventory {folder} lists {twice!r} twice; take it again.")
    return by_key.take(pa.array(_order_by_category(by_key["category"])))


def fitted_split(inventory: pa.Table) -> str | None:
    """Return the split that the projection is fitted on: Training if there is one, else all images (`None`)."""
    return FITTED_SPLIT if pc.any(pc.equal(inventory["split"], FITTED_SPLIT)).as_py() else None


def fits_on_driver(inventory: pa.Table) -> bool:
    """Tell whether one core works these rows off in about the second that Spark needs to start its workers."""
    return bool(_costs(inventory).sum() <= _LITTLE)


def partition(inventory: pa.Table, cores: int) -> Iterator[pa.Table]:
    """Cut a sorted inventory into consecutive parts that take about as long as each other.

    There are as many for every core, so that none waits while the last part is worked on.
    """
    images = inventory.num_rows
    rounds = math.ceil(images / (IMAGES_PER_PART * cores))
    costs = _costs(inventory).cumsum()
    shares = np.arange(1, rounds * cores) / (rounds * cores)
    ends = [0, *np.searchsorted(costs, shares * costs[-1]).tolist(), images]
    for start, end in pairwise(ends):
        if end > start:
            yield inventory.slice(start, end - start)


def _costs(inventory: pa.Table) -> NDArray[np.int64]:
    """Tell what each row costs, in bytes that take as long to fetch and decode."""
    return np.asarray(inventory["size"].to_numpy() + _BYTES_LIKE_AN_IMAGE, np.int64)


def _rises(keys: pa.ChunkedArray) -> bool:
    """Tell whether every key is greater than the one before: sorted, and none twice."""
    return len(keys) < 2 or bool(pc.all(pc.less(keys[:-1], keys[1:])).as_py())  # noqa: PLR2004


def _order_by_category(categories: pa.ChunkedArray) -> NDArray[np.int64]:
    """Find the order of categories, those without last, that leaves equal ones as they are."""
    coded = pc.dictionary_encode(combine_chunks(categories))
    ranks = np.argsort(np.argsort(np.array(coded.dictionary.to_pylist(), dtype=object), kind="stable"))
    codes = coded.indices.fill_null(len(ranks)).to_numpy(zero_copy_only=False)
    return np.argsort(np.append(ranks, len(ranks))[codes], kind="stable")
