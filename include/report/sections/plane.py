"""Sample the plane of the first two components. Every category is in the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.report.rows import Rows

MAX_POINTS = 6_000
MIN_CATEGORY_POINTS = 10
"""Smallest number of points of a category, if it has that many images and the categories are few enough."""


def sample(rows: Rows, counts: pl.DataFrame) -> dict[str, Any]:
    """Return the first two components of about `MAX_POINTS` images, drawn from each category by its share of the run.

    Args:
        rows: Rows from which images are drawn.
        counts: Result of `rows.counts` for the complete run.
    """
    second = rows.pca[:, 1] if rows.pca.shape[1] > 1 else np.zeros(len(rows), np.float32)
    plane = rows.names.with_columns(x=rows.pca[:, 0], y=second)
    minimum = min(MIN_CATEGORY_POINTS, MAX_POINTS // max(1, counts["category"].n_unique()))
    share = pl.col("images") / pl.col("images").sum()
    quotas = (
        counts.group_by("category")
        .agg(pl.col("images").sum())
        .with_columns(quota=pl.max_horizontal((share * MAX_POINTS).round(), minimum))
    )
    rank = pl.col("draw").rank("ordinal").over("category")
    drawn = plane.join(quotas, on="category").filter(rank <= pl.col("quota")).sort("category", "path")
    return {
        "shown": drawn.height,
        "of": int(counts["images"].sum()),
        "x": drawn["x"].round(4).to_list(),
        "y": drawn["y"].round(4).to_list(),
        "category": drawn["category"].to_list(),
        "path": drawn["path"].to_list(),
    }


def centres(shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the number and the mean of the points of each category.

    Args:
        shown: Result of `sample`.

    >>> centres({"category": ["Apple", "Apple", "Lime"], "x": [1.0, 2.0, 0.5], "y": [0.0, 4.0, 0.0]})[0]
    {'category': 'Apple', 'points': 2, 'x': 1.5, 'y': 2.0}
    """
    points = pl.DataFrame({name: shown[name] for name in ("category", "x", "y")})
    means = points.group_by("category", maintain_order=True).agg(pl.len().alias("points"), pl.col("x", "y").mean())
    return means.to_dicts()
