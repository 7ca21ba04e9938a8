"""Read `features/` for the report: the number of images by split and category, and the components of a sample.

`features/` is read twice in batches, to count and to sample. The sample is bounded. It contains all rows of a run with
up to about 100,000 Training and 25,000 Test images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from fruits_features.contract.image_keys import TEST_SPLIT
from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.io.vectors import unit_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from include.run_files import RunFiles

MAX_ROWS = {TEST_SPLIT: 25_000}
MAX_OTHER_ROWS = 100_000
"""Largest number of rows per split. The time to compare all Test with all Training images grows with the product."""
MAX_BYTES = 200 * 2**20
"""Largest size of the sampled components in bytes. It limits the rows of runs with more than about 400 components."""
MIN_CATEGORY_ROWS = 10
"""Smallest number of rows per split and category, if there are that many."""

COUNTS = {"split": pl.String, "category": pl.String, "images": pl.Int64}
NAME_COLUMNS = {"path": pl.String, "split": pl.String, "category": pl.String, "draw": pl.Float64}


def count(files: RunFiles) -> pl.DataFrame:
    """Return the number of images by split and category: `split`, `category`, `images`, sorted by category."""
    by = ["split", "category"]
    parts = [batch.group_by(by).agg(images=pl.len().cast(pl.Int64)) for batch in files.features.batches(by)]
    return pl.concat([pl.DataFrame(schema=COUNTS), *parts]).group_by(by).agg(pl.col("images").sum()).sort(by[::-1])


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
    def read(cls, files: RunFiles, counts: pl.DataFrame, k: int) -> Self:
        """Read a sample of the rows.

        Args:
            files: Tables of the run.
            counts: Result of `count`.
            k: Number of components.
        """
        shares = _shares(counts, k)
        names, vectors = [pl.DataFrame(schema=NAME_COLUMNS)], [np.empty((0, k), np.float32)]
        for batch in files.features.batches(["path", "split", "category", "pca"]):
            drawn = batch.with_columns(draw=pl.col("path").hash() / 2.0**64)
            drawn = drawn.join(shares, on=["split", "category"], nulls_equal=True, maintain_order="left")
            kept = drawn.filter(pl.col("draw") <= pl.col("share"))
            names.append(kept.select(*NAME_COLUMNS))
            vectors.append(kept["pca"].explode().to_numpy().reshape(-1, k))
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


def _shares(counts: pl.DataFrame, k: int) -> pl.DataFrame:
    """Return the share of rows to sample by split and category: `split`, `category`, `share`."""
    in_memory = MAX_BYTES / (4 * k * max(1, counts["images"].sum()))
    limit = pl.col("split").replace_strict(MAX_ROWS, default=MAX_OTHER_ROWS, return_dtype=pl.Float64)
    of_split = pl.min_horizontal(limit / pl.col("images").sum().over("split"), in_memory)
    share = pl.max_horizontal(of_split, MIN_CATEGORY_ROWS / pl.col("images")).clip(upper_bound=1)
    return counts.select("split", "category", share=share)
