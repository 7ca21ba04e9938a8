"""Counts the images of an inventory whose features no cache contains: what a run has to extract.

Runs as a process of its own, which reads S3 with the credentials of its environment:

    python -m include.inventory.changes [--machine TYPE] [--model-sha256 SHA256] -- <arguments of the application>

The result is one line of JSON on stdout. The cache is only read. Memory holds 16 bytes per image in the cache, and one
file of the inventory as it is stored.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import BaseError

from fruits_features.cache.store import FeatureCache
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.errors import RunError
from fruits_features.contract.families import MODEL_FAMILY
from fruits_features.extraction.families.onnx import Weights
from fruits_features.extraction.fingerprint import THIS_MACHINE, Environment
from fruits_features.io import object_store
from fruits_features.io.s3_access import problem
from include.artifacts import bundle
from include.artifacts.wheelhouse import LOCAL, Platform, pins
from include.inventory.writer import BATCH_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

CONTENT: Final = ["etag", "size"]
"""Columns that identify an object's bytes, if the ETag is their MD5."""
OBJECT: Final = ["key", *CONTENT]
"""Columns that identify an object."""


@dataclass(frozen=True)
class NewImages:
    """Images that have to be extracted.

    Args:
        images: Number of images.
        size_bytes: Their total size in bytes.
    """

    images: int
    size_bytes: int


@dataclass(frozen=True)
class Changes:
    """Images that have to be extracted, by the machines that would extract them.

    Args:
        cluster: New images for a cluster.
        worker: New images for this machine. They differ if machine type or libraries do (decision 8).
    """

    cluster: NewImages
    worker: NewImages


def main(argv: Sequence[str] | None = None) -> int:
    """Print the changes as JSON and return the exit code. The last line of stderr after an error is the reason."""
    parser = argparse.ArgumentParser(prog="python -m include.inventory.changes", description=__doc__.partition("\n")[0])
    parser.add_argument("--machine", help="type of the clusters' machines (default: clusters are this machine)")
    parser.add_argument("--model-sha256", help="SHA-256 of the model of the family onnx")
    parser.add_argument("arguments", nargs="+", help="arguments of the application")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = Arguments.from_argv(options.arguments)
    try:
        found = find(arguments, options.machine, options.model_sha256)
    except (BaseError, OSError, RunError, pa.ArrowException) as error:
        reason = (problem(error) if isinstance(error, BaseError) else None) or str(error).strip().splitlines()[0]
        print(reason, file=sys.stderr)  # noqa: T201 - the documented last line
        return 1
    print(json.dumps(asdict(found)))  # noqa: T201 - the result
    return 0


def find(arguments: Arguments, machine: str | None, model_sha256: str | None) -> Changes:
    """Return the images of a run that its cache does not contain.

    Args:
        arguments: Arguments of the run, with a cache.
        machine: Type of the clusters' machines, as printed by `uname -m`; `None` if clusters are this machine.
        model_sha256: SHA-256 of the model's file; `None` without a model.

    Raises:
        DamagedCacheError: An index of the cache is damaged.
    """
    model = model_sha256 and Weights(str(arguments.onnx_model), model_sha256, dimension=0)
    environments = (of_clusters(machine, onnx=MODEL_FAMILY in arguments.features), THIS_MACHINE)
    caches = [FeatureCache.of(str(arguments.store), arguments, model or None, one) for one in environments]
    found = {cache.folder: count(_inventory(arguments.inventory), cache.iter_index()) for cache in caches}
    cluster, worker = (found[cache.folder] for cache in caches)
    return Changes(cluster, worker)


def of_clusters(machine: str | None, *, onnx: bool) -> Environment:
    """Return machine type and libraries of a cluster, which installs the locked requirements."""
    target = LOCAL if machine is None else Platform.emr(machine)
    lock = bundle.lock(bundle.application_folder(), onnx=onnx)
    return Environment(target.machine, {pin.name: pin.version for pin in pins(lock, target)}.get)


def count(inventory: Iterable[pa.Table], index: Iterable[pa.Table]) -> NewImages:
    """Return the images of an inventory that are not in the index of a cache, by the rules of `CacheIndex.find`.

    Rows are compared by hashes of 64 bits. With ten million images, one of 200,000 runs miscounts an image.

    Args:
        inventory: Parts of the inventory.
        index: Parts of the cache's index.
    """
    objects, contents = _Hashes(), _Hashes()
    for part in index:
        objects.add(_hash(part, OBJECT))
        contents.add(_hash(part.filter(part["by_content"]), CONTENT))
    objects.sort()
    contents.sort()
    images = size_bytes = 0
    for part in inventory:
        known = objects.contain(_hash(part, OBJECT)) | contents.contain(_hash(part, CONTENT))
        is_new = ~(known & part["category"].is_valid().to_numpy())
        images += int(is_new.sum())
        size_bytes += int(part["size"].to_numpy()[is_new].sum())
    return NewImages(images, size_bytes)


class _Hashes:
    """A set of 64-bit hashes, as a sorted array."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []
        self._sorted = np.empty(0, np.uint64)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Add hashes; call `sort` before `contain`."""
        self._parts.append(hashes)

    def sort(self) -> None:
        """Sort the added hashes."""
        self._sorted = np.concatenate([self._sorted, *self._parts])
        self._parts.clear()
        self._sorted.sort()

    def contain(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether each hash is in the set."""
        if not len(self._sorted):
            return np.zeros(len(hashes), np.bool_)
        at = np.searchsorted(self._sorted, hashes).clip(max=len(self._sorted) - 1)
        return np.asarray(self._sorted[at] == hashes)


def _hash(rows: pa.Table, columns: list[str]) -> NDArray[np.uint64]:
    """Return a hash of each row's columns, which other processes compute differently."""
    frame = pl.DataFrame(pl.from_arrow(rows.select(columns)))
    return frame.hash_rows().to_numpy()


def _inventory(folder: str) -> Iterator[pa.Table]:
    """Yield the rows of an inventory in batches. One of its files is in memory (`writer.MAX_PART_ROWS`)."""
    for name in object_store.list_files(folder, ".parquet"):
        data = pa.BufferReader(object_store.read_bytes(folder, name))
        with pq.ParquetFile(data, page_checksum_verification=True) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=[*OBJECT, "category"], use_threads=False):
                yield pa.Table.from_batches([batch])


if __name__ == "__main__":
    sys.exit(main())
