"""Summarise the run's recogniser: accuracy, confusions, calibration, and the change against the published run.

The figures come from the validation, which recognises all images. Only the pictures of confusions are chosen from the
sampled rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from fruits_features.contract.image_keys import TEST_SPLIT, VALIDATION_SPLIT
from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.recogniser.guesses import guess
from include import intervals
from include.report.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fruits_features.recogniser.model import Recogniser

ALL = "all"
"""Name of the rows without a split in the validation's figures."""
MAX_CONFUSIONS = 12
SHOWN_SPLITS = (TEST_SPLIT, VALIDATION_SPLIT)
"""Splits that the recogniser was not fitted on. Confusions and calibration are those of the first that has images."""


def summarise(recogniser: Recogniser, rows: Rows, validation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the recogniser.

    Args:
        recogniser: Recogniser of the run.
        rows: Rows from which the pictures are chosen.
        validation: Figures of the recogniser from the validation.
    """
    splits, evaluation = validation["splits"], validation["evaluation"]
    shown = next((split for split in SHOWN_SPLITS if split in splits), None)
    figures = splits[shown] if shown else None
    return {
        "method": "linear discriminant of the components",
        "categories": len(recogniser.categories),
        "learnt": sum(recogniser.images),
        "accuracy": [
            {"split": name, **_accuracy(splits[name]["right"], splits[name]["images"])}
            for name in sorted(splits, key=_order)
        ],
        "cross_validated": evaluation and {"folds": evaluation["folds"], **_share(evaluation)},
        "change": validation.get("change"),
        "fitted": FITTED_SPLIT if FITTED_SPLIT in splits else ALL,
        "split": shown,
        "by_category": _by_category(figures["categories"]) if figures else [],
        "not_learnt": sorted(set(figures["categories"]) - set(recogniser.categories)) if figures else [],
        "confusions": _confusions(recogniser, rows, figures, shown) if figures and shown else [],
        "calibration": _calibration(figures or evaluation),
    }


def _order(split: str) -> int:
    """Return the place of a split: those that the recogniser was not fitted on first."""
    order = (*SHOWN_SPLITS, FITTED_SPLIT)
    return order.index(split) if split in order else len(order)


def _accuracy(right: float, images: int) -> dict[str, Any]:
    low, high = intervals.share(right, images)
    return {
        "images": images,
        "right": round(right),
        "accuracy": round(right / images, 6),
        "low": round(low, 6),
        "high": round(high, 6),
    }


def _share(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracy of counts that contain it as a share."""
    return _accuracy(counts["accuracy"] * counts["images"], counts["images"])


def _by_category(categories: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    return [{"category": name, **_accuracy(right, images)} for name, (images, right) in sorted(categories.items())]


def _calibration(figures: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return calibration error and bins, each bin with the interval of its accuracy."""
    if not figures:
        return None
    bins = [{"confidence": one["confidence"], **_share(one)} for one in figures["bins"]]
    return {"images": sum(one["images"] for one in bins), "error": figures["calibration_error"], "bins": bins}


def _confusions(recogniser: Recogniser, rows: Rows, figures: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
    """Return the most frequent confusions with the number of images, and an example from the sampled rows."""
    queries, known = rows.of(split), rows.of(FITTED_SPLIT)
    category, probability = guess(recogniser, queries.pca)
    guesses = queries.names.select("path", "category", row=pl.int_range(pl.len())).with_columns(
        guess=pl.Series(recogniser.categories).gather(category), probability=probability
    )
    return [
        {
            "category": name,
            "guess": other,
            "images": images,
            "of": figures["categories"][name][0],
            **_example(guesses.filter(category=name, guess=other), queries, known),
        }
        for name, other, images in figures["confusions"][:MAX_CONFUSIONS]
    ]


def _example(confused: pl.DataFrame, queries: Rows, known: Rows) -> dict[str, Any]:
    """Return the surest of the confused images, and the Training image of the guessed category nearest to it.

    Args:
        confused: Confused images: `path`, `guess`, `probability`, and `row` among `queries`.
        queries: Sampled images of the shown split.
        known: Sampled images of the split that the recogniser was fitted on.
    """
    if not confused.height:
        return {"path": None, "probability": None, "nearest": None}
    surest = confused.sort("probability").row(-1, named=True)
    mask = known.names["category"] == surest["guess"]
    similar = Rows(known.names.filter(mask), known.pca[mask.to_numpy()])
    cosines = similar.directions @ queries.pca[surest["row"]]
    return {
        "path": surest["path"],
        "probability": round(surest["probability"], 4),
        "nearest": similar.names["path"][int(cosines.argmax())] if len(similar) else None,
    }
