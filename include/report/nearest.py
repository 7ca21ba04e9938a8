"""Nearest neighbours by the cosine of the components, and what they recognise. Numpy, in blocks of bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fruits_features.contract.layout import FITTED_SPLIT
from include.report.rows import TEST_SPLIT, Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

BLOCK_ASKED, BLOCK_KNOWN = 1024, 16_384
"""Cosines held at a time: 64 MB."""
QUERIES, NEIGHBOURS = 8, 5
WORST_PAIRS = 12


def neighbours(asked: Rows, known: Rows) -> list[dict[str, Any]]:
    """Find the nearest known photographs of some that are drawn, each of another category.

    Args:
        asked: to draw from.
        known: where neighbours are looked for; a photograph is never its own.
    """
    drawn = asked.names.with_row_index().sort("draw").unique("category", keep="first", maintain_order=True)
    drawn = drawn.head(QUERIES).sort("category")
    cosines = asked.directions[drawn["index"].to_numpy()] @ known.directions.T
    found = []
    for (path, category), row in zip(drawn.select("path", "category").iter_rows(), cosines, strict=True):
        order = np.argsort(-row, kind="stable")[: NEIGHBOURS + 1]
        near = known.names.select("path", "category")[order].with_columns(
            cosine=pl.Series(row[order].astype(float).round(4))
        )
        others = near.filter(pl.col("path") != path).head(NEIGHBOURS)
        found.append({"path": path, "category": category, "nearest": others.to_dicts()})
    return found


def recognise(asked: Rows, known: Rows, counts: Mapping[str, int]) -> dict[str, Any]:
    """Guess each photograph's category from its nearest neighbour's, and count what is right.

    Args:
        asked: photographs whose category is guessed.
        known: photographs to learn from.
        counts: how many there are of each split, of which these may be samples.
    """
    index, cosines = first_nearest(asked.directions, known.directions)
    guesses = asked.names.select("path", "category").with_columns(
        guess=known.names["category"].gather(index), nearest=known.names["path"].gather(index), cosine=cosines
    )
    right = pl.col("guess") == pl.col("category")
    by_category = guesses.group_by("category").agg(images=pl.len(), recognised=right.sum()).sort("category")
    wrong = guesses.filter(~right).sort("cosine", descending=True)
    pairs = wrong.group_by("category", "guess", maintain_order=True).agg(
        pl.len().alias("images"), pl.first("path", "nearest")
    )
    asked_of = dict(by_category.select("category", "images").iter_rows())
    return {
        "method": "category of the nearest Training image, by cosine of the components",
        "learnt": len(known),
        "learnt_of": counts[FITTED_SPLIT],
        "asked": len(asked),
        "asked_of": counts[TEST_SPLIT],
        "recognised": guesses.select(right.sum()).item(),
        "accuracy": round(guesses.select(right.mean()).item(), 6),
        "not_learnt": sorted(set(asked_of) - set(known.names["category"])),
        "by_category": [
            {**one, "share": round(one["recognised"] / one["images"], 6)} for one in by_category.to_dicts()
        ],
        "confusions": [
            {**one, "of": asked_of[one["category"]]}
            for one in pairs.sort("images", descending=True, maintain_order=True).head(WORST_PAIRS).to_dicts()
        ],
    }


def first_nearest(
    asked: NDArray[np.float32], known: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the known unit vector with the largest cosine to each asked one: its index, and the cosine.

    >>> index, cosine = first_nearest(np.float32([[1, 0], [0, 1]]), np.float32([[0, 1], [1, 0]]))
    >>> index.tolist(), cosine.tolist()
    ([1, 0], [1.0, 1.0])
    """
    index = np.zeros(len(asked), np.int64)
    best = np.full(len(asked), -np.inf, np.float32)
    for start in range(0, len(asked), BLOCK_ASKED):
        rows = slice(start, start + BLOCK_ASKED)
        for first in range(0, len(known), BLOCK_KNOWN):
            cosines = asked[rows] @ known[first : first + BLOCK_KNOWN].T
            top = cosines.argmax(axis=1)
            value = np.take_along_axis(cosines, top[:, None], axis=1)[:, 0]
            better = value > best[rows]
            index[rows] = np.where(better, first + top, index[rows])
            best[rows] = np.where(better, value, best[rows])
    return index, best
