"""Check the stored recogniser: fit it again from the rows of `features/`.

Memory holds a mean by category, one covariance and counts. The fit uses other formulas than the application's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from fruits_features.pca.fit import Moments
from fruits_features.recogniser.fit import ZERO_VARIANCE
from fruits_features.recogniser.model import MIN_CATEGORIES, Recogniser, UnreadableRecogniserError
from include.validation.checks import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TOLERANCE = 1e-6
"""Largest difference of a weight or an offset from the fit repeated, relative to the largest of them. Sums in another
order round differently, by less than 1e-9."""

READABLE = "recogniser: can be read"
CATEGORIES = "recogniser: categories and images are those of the training images"
REFIT = "recogniser: equals a fit on features/"


@dataclass
class CategoryMeans:
    """Number and mean of the rows of each category, and the sum of the outer products of their deviations."""

    counts: dict[str, int] = field(default_factory=dict)
    means: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    within: NDArray[np.float64] | float = 0.0

    @classmethod
    def of(cls, components: NDArray[np.float32], labels: NDArray[np.str_]) -> Self:
        """Return the means of rows, n x k, by their categories."""
        result = cls()
        for name in np.unique(labels).tolist():
            moments = Moments.of(components[labels == name])
            result.counts[name], result.means[name] = moments.count, moments.mean
            result.within = result.within + moments.scatter
        return result

    def merge(self, other: CategoryMeans) -> CategoryMeans:
        """Return the means of both, by the formulas of `Moments.merge`."""
        merged = CategoryMeans(dict(self.counts), dict(self.means), self.within + other.within)
        for name, count in other.counts.items():
            before = self.counts.get(name)
            if before is None:
                merged.counts[name], merged.means[name] = count, other.means[name]
                continue
            delta, total = other.means[name] - self.means[name], before + count
            merged.within = merged.within + np.outer(delta, delta) * (before * count / total)
            merged.means[name] = other.means[name] - delta * (before / total)
            merged.counts[name] = total
        return merged

    def fit(self, shrinkage: float, temperature: float) -> NDArray[np.float64]:
        """Return weights and, in the last row, offsets of the discriminant, (k + 1) x C. Categories are sorted."""
        names = sorted(self.counts)
        counts, means = np.array([self.counts[name] for name in names]), np.stack([self.means[name] for name in names])
        covariance = np.asarray(self.within) / counts.sum()
        identity = np.eye(means.shape[1])
        variance = float(np.trace(covariance)) / len(identity)
        squares = float(counts @ np.square(means).sum(axis=1) / counts.sum()) / len(identity) + variance
        if variance <= ZERO_VARIANCE * squares:
            total = squares - float(np.square(counts @ means / counts.sum()).mean())
            shrunk = identity * (total if total > 0 else 1.0)
        else:
            shrunk = (1 - shrinkage) * covariance + shrinkage * variance * identity
        weights = np.linalg.solve(shrunk, means.T)
        return np.vstack([weights, -0.5 * (means.T * weights).sum(axis=0)]) / temperature


def read(stored: bytes | None) -> tuple[Recogniser | None, str]:
    """Return the stored recogniser and its damage, which is empty if it can be read or there is none."""
    try:
        return (None if stored is None else Recogniser.from_bytes(stored)), ""
    except UnreadableRecogniserError as error:
        return None, str(error)


@dataclass(frozen=True)
class RecogniserChecks:
    """Checks of the recogniser against the rows of `features/`.

    Args:
        stored: Bytes of the run's recogniser; `None` if the run has none.
        projection: Version of the run's projection.
        components: Number of components of the run's projection.
        means: Means of the training images.
    """

    stored: bytes | None
    projection: str
    components: int
    means: CategoryMeans

    def checks(self) -> Iterator[Check]:
        """Yield the checks."""
        recogniser, damage = read(self.stored)
        expected = len(self.means.counts)
        if self.stored is None and expected < MIN_CATEGORIES:
            reason = f"training images of {expected} categories, and a recogniser needs {MIN_CATEGORIES}"
            yield Check.not_checked(READABLE, reason)
        elif recogniser is None:
            wanted = f"a recogniser of {expected} categories"
            yield Check(READABLE, passed=False, saw=damage or "no file", wanted=wanted)
        else:
            yield from self._checks(recogniser)

    def _checks(self, recogniser: Recogniser) -> Iterator[Check]:
        yield Check(READABLE, passed=True, saw=f"{len(recogniser.categories)} categories", wanted="a recogniser")
        yield Check.equal("recogniser: version of the projection", recogniser.projection, self.projection)
        yield Check.equal("recogniser: number of components", recogniser.k, self.components)
        counts, trained = dict(zip(recogniser.categories, recogniser.images, strict=True)), self.means.counts
        different = sorted(name for name in {*counts, *trained} if counts.get(name) != trained.get(name))
        saw = ", ".join(f"{name!r}: {counts.get(name, 0)}" for name in different[:5]) or "equal"
        wanted = ", ".join(f"{name!r}: {trained.get(name, 0)}" for name in different[:5]) or "equal"
        yield Check(CATEGORIES, not different, saw, wanted)
        if not different and recogniser.k == self.components:
            yield Check.at_most(REFIT, self._difference(recogniser), TOLERANCE)

    def _difference(self, recogniser: Recogniser) -> float:
        """Return the largest difference from the fit repeated, relative to the largest weight or offset."""
        expected = self.means.fit(recogniser.shrinkage, recogniser.temperature)
        difference = np.abs(np.vstack([recogniser.weights, recogniser.bias]) - expected).max()
        return float(difference / max(np.abs(expected).max(), np.finfo(float).tiny))
