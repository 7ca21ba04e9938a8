"""The plane of the first two components: a sample in which every category is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from include.report.rows import Rows

POINTS = 6_000
LEAST_POINTS = 10
"""Of a category, if it has that many and there are few enough categories."""


def sample(rows: Rows, counts: pl.DataFrame) -> dict[str, Any]:
    """Draw about 6,000 images, each category by its share of the run, and give their first two components.

    Args:
        rows: to draw from.
        counts: of the whole run, as `rows.count` gives them.
    """
    second = rows.pca[:, 1] if rows.pca.shape[1] > 1 else np.zeros(len(rows), np.float32)
    plane = rows.names.with_columns(x=rows.pca[:, 0], y=second)
    least = min(LEAST_POINTS, POINTS // max(1, counts["category"].n_unique()))
    share = pl.col("images") / pl.col("images").sum()
    quotas = (
        counts.group_by("category")
        .agg(pl.col("images").sum())
        .with_columns(quota=pl.max_horizontal((share * POINTS).round(), least))
    )
    place = pl.col("draw").rank("ordinal").over("category")
    drawn = plane.join(quotas, on="category").filter(place <= pl.col("quota")).sort("category", "path")
    return {
        "shown": drawn.height,
        "of": int(counts["images"].sum()),
        "x": drawn["x"].round(4).to_list(),
        "y": drawn["y"].round(4).to_list(),
        "category": drawn["category"].to_list(),
        "path": drawn["path"].to_list(),
    }
