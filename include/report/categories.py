"""The categories: how many images each has, and one photograph that stands for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from include.report.rows import Rows

NO_SPLIT = "none"


def describe(counts: pl.DataFrame, rows: Rows) -> list[dict[str, Any]]:
    """Tell of each category, in alphabetical order, its images by split and the path of the most typical one.

    Args:
        counts: as `rows.count` gives them.
        rows: to choose the typical ones from.
    """
    typical = _typical(rows)
    return [
        {
            "category": category,
            "images": int(part["images"].sum()),
            "splits": dict(part.select(pl.col("split").fill_null(NO_SPLIT), "images").iter_rows()),
            "typical": typical[category],
        }
        for (category,), part in counts.sort("category", "split").group_by("category", maintain_order=True)
    ]


def _typical(rows: Rows) -> dict[str, str]:
    """Choose of each category the image whose components point most the way of its mean."""
    directions = rows.directions
    codes, names = rows.names["category"].rank("dense").to_numpy() - 1, rows.names["category"].unique().sort()
    sums = np.zeros((len(names), directions.shape[1]), np.float32)
    np.add.at(sums, codes, directions)
    likeness = pl.Series("likeness", np.einsum("nk,nk->n", directions, sums[codes]))
    best = rows.names.with_columns(likeness).group_by("category").agg(pl.col("path").sort_by("likeness").last())
    return dict(best.iter_rows())
