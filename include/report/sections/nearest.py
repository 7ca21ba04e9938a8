"""Find nearest neighbours by the cosine of the components, and recognise categories with them, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fruits_features.contract.image_keys import TEST_SPLIT
from fruits_features.contract.layout import FITTED_SPLIT
from include import intervals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from include.report.rows import Rows

QUERY_BLOCK, KNOWN_BLOCK = 1024, 16_384
"""Rows of a block of cosines: 64 MB in memory at a time."""
QUERIES, NEIGHBOURS = 8, 5
MAX_CONFUSIONS = 12


def neighbours(queries: Rows, known: Rows) -> list[dict[str, Any]]:
    """Return random images of different categories with their nearest known images.

    Args:
        queries: Rows from which images are drawn.
        known: Rows in which neighbours are searched. An image is never its own neighbour.
    """
    drawn = queries.names.with_row_index().sort("draw").unique("category", keep="first", maintain_order=True)
    drawn = drawn.head(QUERIES).sort("category")
    cosines = queries.directions[drawn["index"].to_numpy()] @ known.directions.T
    results = []
    for (path, category), row in zip(drawn.select("path", "category").iter_rows(), cosines, strict=True):
        order = np.argsort(-row, kind="stable")[: NEIGHBOURS + 1]
        near = known.names.select("path", "category")[order].with_columns(
            cosine=pl.Series(row[order].astype(float).round(4))
        )
        others = near.filter(pl.col("path") != path).head(NEIGHBOURS)
        results.append({"path": path, "category": category, "nearest": others.to_dicts()})
    return results


def recognise(queries: Rows, known: Rows, counts: Mapping[str, int]) -> dict[str, Any]:
    """Predict each image's category by its nearest neighbour, and return accuracy and confusions.

    Args:
        queries: Images whose categories are predicted.
        known: Images with known categories.
        counts: Number of images of each split in the run, of which the rows may be samples.
    """
    index, cosines = first_nearest(queries.directions, known.directions)
    guesses = queries.names.select("path", "category").with_columns(
        guess=known.names["category"].gather(index), nearest=known.names["path"].gather(index), cosine=cosines
    )
    right = pl.col("guess") == pl.col("category")
    by_category = guesses.group_by("category").agg(images=pl.len(), recognised=right.sum()).sort("category")
    wrong = guesses.filter(~right).sort("cosine", descending=True)
    pairs = wrong.group_by("category", "guess", maintain_order=True).agg(
        pl.len().alias("images"), pl.first("path", "nearest")
    )
    recognised = guesses.select(right.sum()).item()
    low, high = intervals.share(recognised, len(queries))
    images_of = dict(by_category.select("category", "images").iter_rows())
    return {
        "method": "category of the nearest Training image, by cosine of the components",
        "learnt": len(known),
        "learnt_of": counts[FITTED_SPLIT],
        "asked": len(queries),
        "asked_of": counts[TEST_SPLIT],
        "recognised": recognised,
        "accuracy": round(recognised / len(queries), 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "not_learnt": sorted(set(images_of) - set(known.names["category"])),
        "by_category": [
            {**row, "share": round(row["recognised"] / row["images"], 6)} for row in by_category.to_dicts()
        ],
        "confusions": [
            {**pair, "of": images_of[pair["category"]]}
            for pair in pairs.sort("images", descending=True, maintain_order=True).head(MAX_CONFUSIONS).to_dicts()
        ],
    }


def first_nearest(
    queries: NDArray[np.float32], known: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the index and the cosine of the nearest known unit vector of each query.

    >>> index, cosine = first_nearest(np.float32([[1, 0], [0, 1]]), np.float32([[0, 1], [1, 0]]))
    >>> index.tolist(), cosine.tolist()
    ([1, 0], [1.0, 1.0])
    """
    index = np.zeros(len(queries), np.int64)
    best = np.full(len(queries), -np.inf, np.float32)
    for start in range(0, len(queries), QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        for first in range(0, len(known), KNOWN_BLOCK):
            cosines = queries[rows] @ known[first : first + KNOWN_BLOCK].T
            top = cosines.argmax(axis=1)
            value = np.take_along_axis(cosines, top[:, None], axis=1)[:, 0]
            better = value > best[rows]
            index[rows] = np.where(better, first + top, index[rows])
            best[rows] = np.where(better, value, best[rows])
    return index, best
