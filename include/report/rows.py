"""What the report keeps of `features/`: how many images of each kind there are, and the components of a sample of them.

Two passes, a batch at a time: one that counts, one that keeps. What is kept is bounded, whatever the run's size; up to
about 100,000 Training and 25,000 Test images it is everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from fruits_features.contract.layout import FITTED_SPLIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from include.run_files import RunFiles

TEST_SPLIT = "Test"
MOST_ROWS = {TEST_SPLIT: 25_000}
MOST_ROWS_ELSEWHERE = 100_000
"""Of a split. Every Test image is compared with every Training one: 100,000 x 25,000 x 128 take some ten seconds."""
MOST_BYTES = 200 * 2**20
"""Of the kept components together; where they are more than about 400, it is this that limits the rows."""
LEAST_ROWS = 10
"""Kept of each split of a category, if there are that many."""

COUNTS = {"split": pl.String, "category": pl.String, "images": pl.Int64}
KEPT = {"path": pl.String, "split": pl.String, "category": pl.String, "draw": pl.Float64}


def count(files: RunFiles) -> pl.DataFrame:
    """Count the images of each split and category: `split`, `category`, `images`, in the order of the categories."""
    by = ["split", "category"]
    parts = [batch.group_by(by).agg(images=pl.len().cast(pl.Int64)) for batch in files.features.batches(by)]
    return pl.concat([pl.DataFrame(schema=COUNTS), *parts]).group_by(by).agg(pl.col("images").sum()).sort(by[::-1])


@dataclass(frozen=True)
class Rows:
    """Some rows of `features/`.

    Args:
        names: `path`, `split`, `category`, and `draw`, a number from 0 to 1, random but always the same for a path.
        pca: their components, n x k, float32.
    """

    names: pl.DataFrame
    pca: NDArray[np.float32]

    @classmethod
    def read(cls, files: RunFiles, counts: pl.DataFrame, k: int) -> Self:
        """Keep a sample of the rows; all of them in a run of the usual size.

        Args:
            files: the run's tables.
            counts: as `count` gives them.
            k: how many components there are.
        """
        shares = _shares(counts, k)
        names, vectors = [pl.DataFrame(schema=KEPT)], [np.empty((0, k), np.float32)]
        for batch in files.features.batches(["path", "split", "category", "pca"]):
            drawn = batch.with_columns(draw=pl.col("path").hash() / 2.0**64)
            drawn = drawn.join(shares, on=["split", "category"], nulls_equal=True, maintain_order="left")
            kept = drawn.filter(pl.col("draw") <= pl.col("share"))
            names.append(kept.select(*KEPT))
            vectors.append(kept["pca"].explode().to_numpy().reshape(-1, k))
        return cls(pl.concat(names), np.concatenate(vectors))

    def __len__(self) -> int:
        """How many there are."""
        return self.names.height

    def of(self, split: str | None) -> Rows:
        """Those of one split; all of them for `None`."""
        if split is None:
            return self
        mask = (self.names["split"] == split).fill_null(value=False)
        return Rows(self.names.filter(mask), self.pca[mask.to_numpy()])

    @property
    def directions(self) -> NDArray[np.float32]:
        """The components as unit vectors, whose products are cosines; what has no components stays zero."""
        lengths = np.linalg.norm(self.pca, axis=1, keepdims=True)
        return np.asarray(np.divide(self.pca, lengths, out=np.zeros_like(self.pca), where=lengths > 0), np.float32)


def splits(counts: pl.DataFrame) -> tuple[str, str] | None:
    """The splits to learn from and to ask about; `None` unless there are both."""
    both = (FITTED_SPLIT, TEST_SPLIT)
    return both if set(both) <= set(counts["split"]) else None


def by_split(counts: pl.DataFrame) -> dict[str, int]:
    """Count the images of each split; those without are left out."""
    return dict(counts.drop_nulls("split").group_by("split").agg(pl.col("images").sum()).iter_rows())


def _shares(counts: pl.DataFrame, k: int) -> pl.DataFrame:
    """Tell which share of each split's categories to keep: `split`, `category`, `share`."""
    in_memory = MOST_BYTES / (4 * k * max(1, counts["images"].sum()))
    limit = pl.col("split").replace_strict(MOST_ROWS, default=MOST_ROWS_ELSEWHERE, return_dtype=pl.Float64)
    of_split = pl.min_horizontal(limit / pl.col("images").sum().over("split"), in_memory)
    share = pl.max_horizontal(of_split, LEAST_ROWS / pl.col("images")).clip(upper_bound=1)
    return counts.select("split", "category", share=share)
