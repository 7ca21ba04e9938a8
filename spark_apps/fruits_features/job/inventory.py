"""Reads and sorts the inventory, and splits it into one table per task.

The driver does this for a small inventory without Spark. The rows are narrow, and the first task starts earlier than it
would after a cold start of Spark SQL; see docs/measurements/constants.md. `shards` splits a large inventory.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fruits_features.contract import sealed
from fruits_features.contract.errors import RunError
from fruits_features.contract.layout import FITTED_SPLIT, INVENTORY_DIGESTS
from fruits_features.contract.sealed import DamagedDocumentError
from fruits_features.contract.workload import IMAGE_OVERHEAD_BYTES, IMAGES_PER_PARTITION
from fruits_features.io import arrow, blocks, object_store
from fruits_features.io.arrow import combine_chunks
from fruits_features.schemas import INVENTORY, arrow_schema

ROWS = arrow_schema([column for column in INVENTORY if column.name != "last_modified"])
"""Schema of the rows that a run reads."""

MAX_DRIVER_COST = 1_000 * IMAGE_OVERHEAD_BYTES
"""Largest cost of rows that the driver processes itself, in bytes.

One core processes them in about the time that Spark needs to start its workers; see docs/measurements/constants.md.
"""


class InventoryError(RunError, ValueError):
    """The inventory cannot be used. The message names the fix."""


@dataclass(frozen=True)
class InventoryFile:
    """A file of an inventory.

    Args:
        folder: URI of the inventory.
        name: Name of the file.
        digest: SHA-256 of the file; `None` in an inventory of an older version.
    """

    folder: str
    name: str
    digest: str | None

    def read(self) -> pa.Table:
        """Read the rows.

        Raises:
            InventoryError: The file is damaged.
        """
        data, fix = object_store.read_bytes(self.folder, self.name), "take the inventory again"
        if self.digest not in {None, blocks.digest(data)}:
            raise InventoryError(f"{self.folder}/{self.name} is damaged: its digest does not match its content; {fix}.")
        try:
            return arrow.from_parquet(data, ROWS.names).cast(ROWS)
        except (pa.ArrowException, OSError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise InventoryError(f"{self.folder}/{self.name} is damaged: {why}; {fix}.") from error


@dataclass(frozen=True)
class Inventory:
    """A complete inventory.

    Args:
        folder: URI of its folder.
        files: Its files.
        size: Size of the files in bytes.
    """

    folder: str
    files: tuple[InventoryFile, ...]
    size: int

    @classmethod
    def of(cls, folder: str) -> "Inventory":
        """List the files of an inventory.

        Raises:
            InventoryError: A file is missing, or the digests are damaged.
        """
        sizes, digests = object_store.list_files(folder, ".parquet"), _read_digests(folder)
        if digests is not None and digests.keys() != sizes.keys():
            listed = ", ".join(sorted(digests.keys() ^ sizes.keys()))
            raise InventoryError(f"The inventory {folder} is incomplete ({listed}); take the inventory again.")
        files = tuple(InventoryFile(folder, name, (digests or {}).get(name)) for name in sizes)
        return cls(folder, files, sum(sizes.values()))

    def read(self) -> pa.Table:
        """Read all rows, sorted by category and key, as `features/` is.

        Raises:
            InventoryError: The inventory is damaged, or it lists no object, or an object twice.
        """
        rows = pa.concat_tables([ROWS.empty_table(), *(file.read() for file in self.files)])
        self.check_images(rows.num_rows)
        return sort(rows, self.folder)

    def check_images(self, images: int) -> None:
        """Raise an error if the inventory lists no object.

        Raises:
            InventoryError: It lists none.
        """
        if not images:
            raise InventoryError(
                f"The inventory {self.folder} lists no object; upload images, or correct the image prefix."
            )


def sort(rows: pa.Table, folder: str) -> pa.Table:
    """Return rows of an inventory sorted by category and key. Rows without a category come last.

    Args:
        rows: Rows with all objects of their keys.
        folder: URI of the inventory, for the error.

    Raises:
        InventoryError: The inventory lists an object twice.
    """
    by_key = rows if _is_increasing(rows["key"]) else rows.sort_by("key")
    if not _is_increasing(by_key["key"]):
        keys = by_key["key"].to_pylist()
        duplicate = next(key for key, following in pairwise(keys) if key == following)
        raise InventoryError(f"The inventory {folder} lists {duplicate!r} twice; take the inventory again.")
    return by_key.take(pa.array(_order_by_category(by_key["category"])))


def _read_digests(folder: str) -> dict[str, str] | None:
    """Return the SHA-256 of each file of an inventory by name; `None` for an inventory of an older version.

    Raises:
        InventoryError: The digests are damaged.
    """
    try:
        digests: dict[str, str] = sealed.decode(object_store.read_bytes(folder, INVENTORY_DIGESTS))["files"]
    except FileNotFoundError:
        return None
    except (DamagedDocumentError, KeyError) as error:
        raise InventoryError(f"{folder}/{INVENTORY_DIGESTS} is damaged: {error}; take the inventory again.") from error
    return digests


def fitted_split(inventory: pa.Table) -> str | None:
    """Return the split that the projection is fitted on: Training if there is one, else all images (`None`)."""
    return FITTED_SPLIT if pc.any(pc.equal(inventory["split"], FITTED_SPLIT)).as_py() else None


def fits_on_driver(inventory: pa.Table, overhead_bytes: int) -> bool:
    """Return whether the driver processes these rows faster than Spark starts its workers.

    Args:
        inventory: Rows of the inventory.
        overhead_bytes: Cost of an image besides its size (`contract.workload.image_overhead_bytes`).
    """
    return bool(_costs(inventory, overhead_bytes).sum() <= MAX_DRIVER_COST)


def partition(inventory: pa.Table, cores: int, overhead_bytes: int = IMAGE_OVERHEAD_BYTES) -> Iterator[pa.Table]:
    """Yield consecutive rows of a sorted inventory as partitions that take about equally long.

    Their number is a multiple of the cores, so that no core waits for the last partitions.

    Args:
        inventory: Sorted rows of the inventory, at least one.
        cores: Number of tasks that run at once.
        overhead_bytes: Cost of an image besides its size (`contract.workload.image_overhead_bytes`).
    """
    images = inventory.num_rows
    rounds = math.ceil(images / (IMAGES_PER_PARTITION * cores))
    costs = _costs(inventory, overhead_bytes).cumsum()
    shares = np.arange(1, rounds * cores) / (rounds * cores)
    ends = [0, *np.searchsorted(costs, shares * costs[-1]).tolist(), images]
    for start, end in pairwise(ends):
        if end > start:
            yield inventory.slice(start, end - start)


def _costs(inventory: pa.Table, overhead_bytes: int) -> NDArray[np.int64]:
    """Return the cost of each row, in bytes that take as long to fetch and decode."""
    return np.asarray(inventory["size"].to_numpy() + overhead_bytes, np.int64)


def _is_increasing(keys: pa.ChunkedArray) -> bool:
    """Return whether every key is greater than the one before."""
    return len(keys) < 2 or bool(pc.all(pc.less(keys[:-1], keys[1:])).as_py())  # noqa: PLR2004 - a single key has none before


def _order_by_category(categories: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the positions of rows in the stable order of their categories. Rows without a category come last."""
    coded = pc.dictionary_encode(combine_chunks(categories))
    ranks = np.argsort(np.argsort(np.array(coded.dictionary.to_pylist(), dtype=object), kind="stable"))
    codes = coded.indices.fill_null(len(ranks)).to_numpy(zero_copy_only=False)
    return np.argsort(np.append(ranks, len(ranks))[codes], kind="stable")
