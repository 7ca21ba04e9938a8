"""Nearest neighbours of a photo among the images of a run, by the cosine of the components.

Up to `MIN_INDEXED` images, all are compared. Above it, faiss builds an index, of which a search compares a part.
The first search of a run on a machine builds the index, and later ones read it from `cache_folder` (measurements:
docs/measurements/neighbours.md). Without faiss or a home folder, all images are compared.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import isqrt
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.dataset import matrix_of
from fruits_features.io.vectors import unit_vectors

MIN_INDEXED = 100_000
"""Largest number of images that are all compared."""
PROBES = 64
"""Lists of the index that a search compares. There are about as many lists as images per list."""
_KEPT = 3
"""Number of indexes that are kept: those written last."""


def cache_folder() -> Path | None:
    """Return the folder of the indexes; `None` if the user has no home folder, as in some containers."""
    try:
        return Path.home() / ".cache" / "fruits-features"
    except RuntimeError:  # no HOME, and no entry of the user in the password database
        return None


@dataclass(frozen=True)
class Neighbour:
    """An image of a run that is similar to a photo.

    Args:
        path: Address of the image, `s3://<bucket>/<key>`.
        category: Kind of fruit.
        cosine: Cosine of the components of image and photo, from -1 to 1.
    """

    path: str
    category: str
    cosine: float


class Search(Protocol):
    """Finds the rows with the largest cosines."""

    @property
    def dimension(self) -> int:
        """Number of components of each row."""

    def search(self, direction: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return up to `k` rows and their cosines with a unit vector, the largest first."""


@dataclass(frozen=True)
class ExactSearch:
    """Compares all rows.

    Args:
        directions: Unit vectors, n x d, float32.
    """

    directions: NDArray[np.float32]

    @property
    def dimension(self) -> int:
        """Number of components of each row."""
        return int(self.directions.shape[1])

    def search(self, direction: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return up to `k` rows and their cosines with a unit vector, the largest first."""
        cosines = self.directions @ direction
        count = min(k, len(cosines))
        found = np.argpartition(-cosines, count - 1)[:count]  # 1 ms for 100,000 rows, which a sort takes 10 ms for
        order = found[np.lexsort((found, -cosines[found]))]
        return order, cosines[order]


@dataclass(frozen=True)
class IndexSearch:
    """Compares the rows of the lists that are nearest to a vector.

    Args:
        index: Inverted file of faiss with unit vectors: `IndexIVFFlat`.
    """

    index: Any

    @property
    def dimension(self) -> int:
        """Number of components of each row."""
        return int(self.index.d)

    @classmethod
    def build(cls, directions: NDArray[np.float32]) -> Self:
        """Build an index.

        Args:
            directions: Unit vectors, n x d, float32.
        """
        faiss = import_module("faiss")
        rows, dimension = directions.shape
        index = faiss.index_factory(dimension, f"IVF{isqrt(rows)},Flat", faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid = 64  # more change nothing (docs/measurements/neighbours.md)
        index.train(directions)
        index.add(directions)
        return cls(index)

    @classmethod
    def open(cls, file: Path, directions: Callable[[], NDArray[np.float32]]) -> Self:
        """Read an index, or build and write it. An index that cannot be written is used nevertheless.

        Args:
            file: File of the index, named by what it depends on.
            directions: Function that returns the unit vectors, n x d, float32.
        """
        faiss = import_module("faiss")
        if file.exists():
            with suppress(RuntimeError):  # damaged, for example by a power failure: built again
                return cls(faiss.read_index(str(file), faiss.IO_FLAG_MMAP))
        built = cls.build(directions())
        with suppress(OSError, RuntimeError):  # faiss raises the latter for a file that it cannot write
            _keep(file, lambda path: faiss.write_index(built.index, str(path)))
        return built

    def search(self, direction: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return up to `k` rows and their cosines with a unit vector, the largest first."""
        self.index.nprobe = PROBES + 2 * k * self.index.nlist // self.index.ntotal
        cosines, rows = self.index.search(direction[np.newaxis], min(k, self.index.ntotal))
        found = rows[0] >= 0
        return rows[0][found], cosines[0][found]


def _keep(file: Path, write: Callable[[Path], None]) -> None:
    """Write an index completely or not at all, and remove those that were written long ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        write(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    for other in sorted(file.parent.glob(f"*{file.suffix}"), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
        other.unlink()


@dataclass(frozen=True)
class Neighbours:
    """Images of a run whose neighbourhood can be searched.

    Args:
        names: Columns `path` and `category`, n rows.
        search: Finds rows of `names` by unit vectors.
    """

    names: pl.DataFrame
    search: Search

    @classmethod
    def of(cls, features: pl.LazyFrame, index: Path | None = None) -> Self:
        """Read the training images of a run, or all images of a run without them.

        Args:
            features: Table `features` of the run.
            index: File that keeps the index of a large run; `None` to compare all images.
        """
        names = features.select("path", "category", "split").collect()
        is_known = (names["split"] == FITTED_SPLIT).fill_null(value=False)
        known = is_known if is_known.any() else ~is_known

        def directions() -> NDArray[np.float32]:
            return unit_vectors(matrix_of(features.select("pca").collect()["pca"].filter(known)))

        is_large = known.sum() > MIN_INDEXED and index is not None and find_spec("faiss") is not None
        search = IndexSearch.open(index, directions) if is_large and index else ExactSearch(directions())
        return cls(names.filter(known).select("path", "category"), search)

    def nearest(self, components: NDArray[np.float32], k: int) -> list[Neighbour]:
        """Return the images with the largest cosines, the largest first; all images if there are fewer than `k`.

        Args:
            components: Components of the photo, float32.
            k: Number of images.

        Raises:
            ValueError: The images have another number of components, or a component is not a finite number.
        """
        rows, cosines = self.search.search(unit_vectors(self._row(components))[0], k)
        found = zip(self.names[rows].iter_rows(), cosines, strict=True)
        return [Neighbour(path, category, float(cosine)) for (path, category), cosine in found]

    def _row(self, components: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the components of one image as a matrix of one row."""
        expected = f"this run takes the {self.search.dimension} components of one image, as `embed` returns them"
        if (shape := np.shape(components)) != (self.search.dimension,):
            raise ValueError(f"The components have the shape {shape}; {expected}.")
        row = np.asarray(components, np.float32)
        if not (finite := np.isfinite(row)).all():
            place = int(np.argmin(finite))
            raise ValueError(f"Component {place} is {components[place]}, not a finite number; {expected}.")
        return row[np.newaxis]
