"""Apply a run's recogniser to the rows of `features/`, and count its answers by split and category."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fruits_features.io.vectors import as_matrix
from fruits_features.recogniser.calibration import BINS, calibration_error
from fruits_features.recogniser.model import CalibrationBin

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from fruits_features.recogniser.model import Recogniser

NO_SPLIT = "all"
"""Name of the figures of the images without a split."""
CONFUSIONS = 20
"""Number of pairs of categories in the figures, the most frequent ones."""
_MAX_PROBABILITIES = 4_000_000
"""Largest number of probabilities in memory, 32 MB."""


@dataclass
class SplitCounts:
    """Counts of the images of one split.

    Args:
        categories: Number of images and of right answers by category.
        confusions: Number of images by category and wrong answer.
        bins: Number of images, sum of the probabilities of their most probable category, and number of right answers,
            in bins of that probability.
        known: Number of images of categories that the recogniser has.
        loss: Sum of the negative logarithms of the probabilities of their categories.
    """

    categories: dict[str, list[int]] = field(default_factory=dict)
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, BINS)))
    known: int = 0
    loss: float = 0.0

    def add(self, labels: NDArray[np.str_], probabilities: NDArray[np.float64], names: NDArray[np.str_]) -> None:
        """Add images.

        Args:
            labels: Categories of n images.
            probabilities: Probabilities, n x C.
            names: Names of the C categories, sorted.
        """
        guess, confidence = names[probabilities.argmax(axis=1)], probabilities.max(axis=1)
        right = guess == labels
        for name, is_right in zip(labels.tolist(), right.tolist(), strict=True):
            counts = self.categories.setdefault(name, [0, 0])
            counts[0] += 1
            counts[1] += is_right
        self.confusions.update(zip(labels[~right].tolist(), guess[~right].tolist(), strict=True))
        number = np.minimum((confidence * BINS).astype(int), BINS - 1)
        self.bins += [np.bincount(number, weights, BINS) for weights in (np.ones(len(right)), confidence, right)]
        position = np.minimum(np.searchsorted(names, labels), len(names) - 1)
        known = names[position] == labels
        of_category = np.maximum(probabilities[known, position[known]], np.finfo(float).tiny)
        self.known += int(known.sum())
        self.loss -= float(np.log(of_category).sum())

    def merge(self, other: SplitCounts) -> SplitCounts:
        """Return the counts of both."""
        categories = {name: list(counts) for name, counts in self.categories.items()}
        for name, (images, right) in other.categories.items():
            counts = categories.setdefault(name, [0, 0])
            counts[0] += images
            counts[1] += right
        return SplitCounts(
            categories,
            self.confusions + other.confusions,
            self.bins + other.bins,
            self.known + other.known,
            self.loss + other.loss,
        )

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        images = sum(total for total, _ in self.categories.values())
        bins = [
            CalibrationBin(int(total), confidence / total, right / total)
            for total, confidence, right in self.bins.T.tolist()
            if total
        ]
        return {
            "images": images,
            "right": sum(right for _, right in self.categories.values()),
            "unknown": images - self.known,
            "log_loss": self.loss / self.known if self.known else None,
            "calibration_error": calibration_error(bins),
            "bins": [asdict(part) for part in bins],
            "categories": dict(sorted(self.categories.items())),
            "confusions": [[*pair, count] for pair, count in self._most_frequent_confusions()],
        }

    def _most_frequent_confusions(self) -> list[tuple[tuple[str, str], int]]:
        return sorted(self.confusions.items(), key=lambda item: (-item[1], item[0]))[:CONFUSIONS]


def recognise(recogniser: Recogniser, rows: pa.RecordBatch) -> dict[str, SplitCounts]:
    """Recognise rows with category and components, and return the counts by split.

    Args:
        recogniser: The recogniser.
        rows: Columns `split`, `category` and `pca`.
    """
    names, components = np.array(recogniser.categories), as_matrix(rows["pca"])
    splits = np.array(rows["split"].fill_null(NO_SPLIT).to_pylist())
    labels = np.array(rows["category"].to_pylist(), np.str_)
    step = max(1, _MAX_PROBABILITIES // len(names))
    answers: dict[str, SplitCounts] = {}
    for split in np.unique(splits).tolist():
        places = np.flatnonzero(splits == split)
        answers[split] = SplitCounts()
        for start in range(0, len(places), step):
            block = places[start : start + step]
            answers[split].add(labels[block], recogniser.probabilities(components[block]), names)
    return answers


def figures(recogniser: Recogniser, answers: Mapping[str, SplitCounts]) -> dict[str, Any]:
    """Return the figures of the recogniser and of each split as JSON."""
    evaluation = recogniser.evaluation
    return {
        "projection": recogniser.projection,
        "categories": len(recogniser.categories),
        "shrinkage": recogniser.shrinkage,
        "temperature": recogniser.temperature,
        "evaluation": asdict(evaluation) if evaluation else None,
        "splits": {name: counts.figures() for name, counts in sorted(answers.items())},
    }
