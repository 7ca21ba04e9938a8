"""The rows of `features/` that the report shows: the number of images by split and category, and a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import polars as pl

from fruits_features.contract.image_keys import TEST_SPLIT
from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.io.vectors import as_matrix, unit_vectors
from include.report.sample import sampled, shares

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from include.report.sample import Labels
    from include.run_files import Table

COUNTS = {"split": pl.String, "category": pl.String, "images": pl.Int64}
NAME_COLUMNS = {"path": pl.String, "split": pl.String, "category": pl.String, "draw": pl.Float64}


def counts(images: Mapping[Labels, int]) -> pl.DataFrame:
    """Return the number of images by split and category: `split`, `category`, `images`, sorted by category."""
    rows = [(*labels, number) for labels, number in images.items()]
    return pl.DataFrame(rows, schema=COUNTS, orient="row").sort("category", "split")


@dataclass(frozen=True)
class Rows:
    """A sample of the rows of `features/`.

    Args:
        names: Columns `path`, `split`, `category` and `draw`, a pseudo-random number from 0 to 1, a hash of the path.
        pca: Components, shape (n, k), float32.
    """

    names: pl.DataFrame
    pca: NDArray[np.float32]

    @classmethod
    def read(cls, table: Table, images: Mapping[Labels, int], k: int) -> Self:
        """Read a sample of the rows.

        Args:
            table: `features/` of a run, or a sample of its rows.
            images: Number of images of the run by split and category.
            k: Number of components.
        """
        names, vectors = [pl.DataFrame(schema=NAME_COLUMNS)], [np.empty((0, k), np.float32)]
        for batch in sampled(table, shares(images, k)):
            names.append(cast("pl.DataFrame", pl.from_arrow(batch.select(list(NAME_COLUMNS)))))
            vectors.append(as_matrix(batch["pca"]).reshape(-1, k))
        return cls(pl.concat(names), np.concatenate(vectors))

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.names.height

    def of(self, split: str | None) -> Rows:
        """Return the rows of one split, or all rows for `None`."""
        if split is None:
            return self
        mask = (self.names["split"] == split).fill_null(value=False)
        return Rows(self.names.filter(mask), self.pca[mask.to_numpy()])

    @property
    def directions(self) -> NDArray[np.float32]:
        """Components as unit vectors, whose inner products are cosines. Zero vectors stay zero."""
        return unit_vectors(self.pca)


def splits(counts: pl.DataFrame) -> tuple[str, str] | None:
    """Return the splits with known and with queried images, or `None` if one of them has no images."""
    both = (FITTED_SPLIT, TEST_SPLIT)
    return both if set(both) <= set(counts["split"]) else None


def by_split(counts: pl.DataFrame) -> dict[str, int]:
    """Return the number of images of each split, without images that have no split."""
    return dict(counts.drop_nulls("split").group_by("split").agg(pl.col("images").sum()).iter_rows())
