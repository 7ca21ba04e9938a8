"""Recognisers with chosen centres, and the validation's figures about them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fruits_features.recogniser.model import CalibrationBin, Evaluation, Recogniser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.report_runs import Place

EVALUATION = Evaluation(100, 5, 0.9, 0.3, 0.05, (CalibrationBin(40, 0.7, 0.8), CalibrationBin(60, 0.95, 0.966667)))


def recogniser(
    centres: Mapping[str, Sequence[float]], projection: str = "p", evaluation: Evaluation | None = EVALUATION
) -> Recogniser:
    """Return a recogniser that chooses the nearest centre.

    Args:
        centres: Centre of each category among the components.
        projection: Version of the projection.
        evaluation: Result of a cross-validation.
    """
    names = sorted(centres)
    means = np.array([centres[name] for name in names], np.float64)
    bias = -np.square(means).sum(axis=1) / 2
    return Recogniser(tuple(names), means.T.copy(), bias, projection, (2,) * len(names), 0.1, 1.0, evaluation)


def figures(subject: Recogniser, places: Sequence[Place], evaluation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the validation's figures about images, counted one by one.

    Args:
        subject: Recogniser of the run.
        places: Split, category and components of each image.
        evaluation: Figures of the cross-validation.
    """
    splits: dict[str, list[tuple[str, str, float]]] = {}
    for split, category, components in places:
        ((guess, probability),) = subject.recognise(np.float32(components), top=1)
        splits.setdefault(split or "all", []).append((category, guess, probability))
    return {"evaluation": evaluation, "splits": {split: _split(guesses) for split, guesses in splits.items()}}


def _split(guesses: Sequence[tuple[str, str, float]]) -> dict[str, Any]:
    right = Counter(category for category, guess, _ in guesses if category == guess)
    wrong = Counter((category, guess) for category, guess, _ in guesses if category != guess)
    bins = [
        {"images": 1, "confidence": probability, "accuracy": float(category == guess)}
        for category, guess, probability in sorted(guesses, key=lambda one: one[2])
    ]
    return {
        "images": len(guesses),
        "right": right.total(),
        "categories": {
            name: [count, right[name]] for name, count in Counter(category for category, *_ in guesses).items()
        },
        "confusions": [[*pair, count] for pair, count in wrong.most_common()],
        "calibration_error": float(np.mean([abs(one["confidence"] - one["accuracy"]) for one in bins])),
        "bins": bins,
    }
