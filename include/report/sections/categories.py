"""Summarise the categories: their images, and one typical image of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from include.report.rows import Rows

NO_SPLIT = "none"


def summarise(counts: pl.DataFrame, rows: Rows) -> list[dict[str, Any]]:
    """Return each category's number of images by split and the path of its most typical image, in alphabetical order.

    Args:
        counts: Result of `rows.counts`.
        rows: Rows from which the typical images are chosen.
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
    """Return each category's image with the largest cosine to the mean direction of the category."""
    directions = rows.directions
    codes, names = rows.names["category"].rank("dense").to_numpy() - 1, rows.names["category"].unique().sort()
    sums = np.zeros((len(names), directions.shape[1]), np.float32)
    np.add.at(sums, codes, directions)
    likeness = pl.Series("likeness", np.einsum("nk,nk->n", directions, sums[codes]))
    best = rows.names.with_columns(likeness).group_by("category").agg(pl.col("path").sort_by("likeness").last())
    return dict(best.iter_rows())
