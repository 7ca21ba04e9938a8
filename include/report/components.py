"""What the components explain, and what the first of them see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fruits_features.contract.families import dimensions
from include.report import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fruits_features.projection import Projection
    from include.report.rows import Rows

FIRST = 6
STRONGEST = 6
PICTURES = 5
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)


def variance(projection: Projection) -> dict[str, Any]:
    """Tell each component's share of the variance, and how many reach a round share together."""
    shares = projection.explained_variance
    together = shares.cumsum()
    reached = [(level, int(np.searchsorted(together, level - 1e-12)) + 1) for level in LEVELS]
    return {
        "components": projection.k,
        "features": len(projection.mean),
        "explained": round(float(together[-1]), 6),
        "version": projection.version,
        "shares": [round(float(share), 6) for share in shares],
        "reached": [{"share": level, "components": count} for level, count in reached if count <= projection.k],
    }


def seen(projection: Projection, rows: Rows) -> list[dict[str, Any]]:
    """Tell of the first components what they weigh, and which images lie at their ends.

    A component is a unit vector: its squared loadings add up to 1, and a family's share of them is how much of the
    component it makes.

    Args:
        projection: the run's.
        rows: to take the images from.
    """
    counts = dimensions(projection.families, len(projection.mean))
    sizes, ends = dict(zip(projection.families, counts, strict=True)), np.cumsum(counts)[:-1]
    found = []
    for number, loadings in enumerate(projection.components.T[:FIRST]):
        squares = [float(np.square(part).sum()) for part in np.split(loadings, ends)]
        strongest = np.argsort(-np.abs(loadings), kind="stable")[: 2 * STRONGEST]
        found.append(
            {
                "component": number + 1,
                "variance": round(float(projection.explained_variance[number]), 6),
                "families": {name: round(part, 6) for name, part in zip(projection.families, squares, strict=True)},
                "strongest": [_loading(sizes, int(index), float(loadings[index])) for index in strongest],
                "lowest": _end(rows, number, descending=False),
                "highest": _end(rows, number, descending=True),
            }
        )
    return found


def _loading(sizes: Mapping[str, int], index: int, loading: float) -> dict[str, Any]:
    return {"column": index, "loading": round(loading, 4), **columns.describe(sizes, index)._asdict()}


def _end(rows: Rows, number: int, *, descending: bool) -> list[dict[str, Any]]:
    """Name the images at one end of a component, each of another category."""
    scored = rows.names.select("path", "category", score=pl.Series(rows.pca[:, number]))
    ends = scored.group_by("category").agg(pl.all().sort_by("score", descending=descending).first())
    return (
        ends.sort("score", "category", descending=[descending, False])
        .head(PICTURES)
        .select("path", "category")
        .to_dicts()
    )
