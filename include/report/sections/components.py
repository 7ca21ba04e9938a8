"""Summarise the components: explained variance, loadings, and images at their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fruits_features.contract.families import dimensions
from include.report.sections import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fruits_features.projection import Projection
    from include.report.rows import Rows

SHOWN_COMPONENTS = 6
SHOWN_COLUMNS = 6
END_PICTURES = 5
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)


def variance(projection: Projection) -> dict[str, Any]:
    """Return each component's share of the variance, and the number of components that reach each of `LEVELS`."""
    shares = projection.explained_variance
    cumulative = shares.cumsum()
    reached = [(level, int(np.searchsorted(cumulative, level - 1e-12)) + 1) for level in LEVELS]
    return {
        "components": projection.k,
        "features": len(projection.mean),
        "explained": round(float(cumulative[-1]), 6),
        "version": projection.version,
        "shares": [round(float(share), 6) for share in shares],
        "reached": [{"share": level, "components": count} for level, count in reached if count <= projection.k],
    }


def summarise(projection: Projection, rows: Rows) -> list[dict[str, Any]]:
    """Return the families, the largest loadings and the extreme images of the first components.

    A component is a unit vector, so that its squared loadings add up to 1. The share of a family is the sum of its
    squared loadings.

    Args:
        projection: Projection of the run.
        rows: Rows from which the images are chosen.
    """
    counts = dimensions(projection.families, len(projection.mean))
    sizes, ends = dict(zip(projection.families, counts, strict=True)), np.cumsum(counts)[:-1]
    summaries = []
    for number, loadings in enumerate(projection.components.T[:SHOWN_COMPONENTS]):
        squares = [float(np.square(part).sum()) for part in np.split(loadings, ends)]
        strongest = np.argsort(-np.abs(loadings), kind="stable")[: 2 * SHOWN_COLUMNS]
        summaries.append(
            {
                "component": number + 1,
                "variance": round(float(projection.explained_variance[number]), 6),
                "families": {name: round(part, 6) for name, part in zip(projection.families, squares, strict=True)},
                "strongest": [_loading(sizes, int(index), float(loadings[index])) for index in strongest],
                "lowest": _end(rows, number, descending=False),
                "highest": _end(rows, number, descending=True),
            }
        )
    return summaries


def _loading(sizes: Mapping[str, int], index: int, loading: float) -> dict[str, Any]:
    return {"column": index, "loading": round(loading, 4), **columns.column_at(sizes, index)._asdict()}


def _end(rows: Rows, number: int, *, descending: bool) -> list[dict[str, Any]]:
    """Return the images at one end of a component, one per category."""
    scored = rows.names.select("path", "category", score=pl.Series(rows.pca[:, number]))
    ends = scored.group_by("category").agg(pl.all().sort_by("score", descending=descending).first())
    return (
        ends.sort("score", "category", descending=[descending, False])
        .head(END_PICTURES)
        .select("path", "category")
        .to_dicts()
    )
