"""Check the stored recogniser: fit it again from the rows of `features/`, and apply it to all of them.

Memory holds a mean by category, one covariance and counts. The fit uses other formulas than the application's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.io.vectors import as_matrix
from fruits_features.pca.fit import Moments
from fruits_features.recogniser.fit import ZERO_VARIANCE
from fruits_features.recogniser.model import MIN_CATEGORIES, Recogniser, UnreadableRecogniserError
from include.validation.checks import Check
from include.validation.recognition import Recognition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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

    def add(self, components: NDArray[np.float32], labels: NDArray[np.str_]) -> None:
        """Add rows, n x k, and their categories."""
        for name in np.unique(labels).tolist():
            moments, count = Moments.of(components[labels == name]), self.counts.get(name, 0)
            delta = moments.mean - self.means.get(name, moments.mean)
            total = count + moments.count
            self.within = self.within + moments.scatter + np.outer(delta, delta) * (count * moments.count / total)
            self.means[name] = moments.mean - delta * (count / total)
            self.counts[name] = total

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


@dataclass
class RecogniserChecks:
    """Checks of the recogniser, and figures of its application to the rows of `features/`.

    Args:
        stored: Bytes of the run's recogniser; `None` if the run has none.
        projection: Version of the run's projection.
        components: Number of components of the run's projection.
        has_split: Whether the run has a split to fit on. Otherwise the recogniser was fitted on all images.
    """

    stored: bytes | None
    projection: str
    components: int
    has_split: bool
    _recogniser: Recogniser | None = None
    _damage: str = ""
    _means: CategoryMeans = field(default_factory=CategoryMeans)
    _recognition: Recognition | None = None

    def __post_init__(self) -> None:
        """Read the recogniser."""
        try:
            self._recogniser = None if self.stored is None else Recogniser.from_bytes(self.stored)
        except UnreadableRecogniserError as error:
            self._damage = str(error)
        if self._recogniser and self._recogniser.k == self.components:
            self._recognition = Recognition(self._recogniser)

    @property
    def recogniser(self) -> Recogniser | None:
        """The recogniser, or `None` if the run has none or it is damaged."""
        return self._recogniser

    def add(self, batch: pl.DataFrame) -> None:
        """Add the rows of a batch. Those without category or finite components fail other checks."""
        complete = batch.filter(pl.col("category").is_not_null(), pl.col("pca").list.len() == self.components)
        complete = complete.filter(pl.Series(np.isfinite(as_matrix(complete["pca"].to_arrow())).all(axis=1)))
        if not complete.height:
            return
        trained = complete.filter(pl.col("split") == FITTED_SPLIT) if self.has_split else complete
        if trained.height:
            self._means.add(as_matrix(trained["pca"].to_arrow()), trained["category"].to_numpy().astype(np.str_))
        if self._recognition:
            self._recognition.add(complete)

    def checks(self) -> Iterator[Check]:
        """Yield the checks of all rows read."""
        expected = len(self._means.counts)
        if self.stored is None and expected < MIN_CATEGORIES:
            reason = f"training images of {expected} categories, and a recogniser needs {MIN_CATEGORIES}"
            yield Check.not_checked(READABLE, reason)
        elif self._recogniser is None:
            wanted = f"a recogniser of {expected} categories"
            yield Check(READABLE, passed=False, saw=self._damage or "no file", wanted=wanted)
        else:
            yield from self._checks(self._recogniser)

    def _checks(self, recogniser: Recogniser) -> Iterator[Check]:
        yield Check(READABLE, passed=True, saw=f"{len(recogniser.categories)} categories", wanted="a recogniser")
        yield Check.equal("recogniser: version of the projection", recogniser.projection, self.projection)
        yield Check.equal("recogniser: number of components", recogniser.k, self.components)
        counts = dict(zip(recogniser.categories, recogniser.images, strict=True))
        different = sorted(
            name for name in {*counts, *self._means.counts} if counts.get(name) != self._means.counts.get(name)
        )
        saw = ", ".join(f"{name!r}: {counts.get(name, 0)}" for name in different[:5]) or "equal"
        wanted = ", ".join(f"{name!r}: {self._means.counts.get(name, 0)}" for name in different[:5]) or "equal"
        yield Check(CATEGORIES, not different, saw, wanted)
        if not different and recogniser.k == self.components:
            yield Check.at_most(REFIT, self._difference(recogniser), TOLERANCE)

    def _difference(self, recogniser: Recogniser) -> float:
        """Return the largest difference from the fit repeated, relative to the largest weight or offset."""
        expected = self._means.fit(recogniser.shrinkage, recogniser.temperature)
        difference = np.abs(np.vstack([recogniser.weights, recogniser.bias]) - expected).max()
        return float(difference / max(np.abs(expected).max(), np.finfo(float).tiny))

    def figures(self) -> Mapping[str, Any]:
        """Return the figures of the recogniser; empty if it was not applied."""
        return self._recognition.figures() if self._recognition else {}
