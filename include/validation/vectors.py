"""One pass over `features/`: every row against its contract, and what its vectors have to be together.

Keeps sums, not rows: moments of the components, counts by category, and a small sample.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.io.vectors import as_matrix
from fruits_features.pca.fit import Moments
from include.validation.checks import Check, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fruits_features.projection import Projection
    from include.run_files import Table
    from include.validation.contract import Contract

SAMPLE_ROWS = 48
PCA_TOLERANCE = 1e-4
"""Of the stored `pca` against the projection applied again, in units of the largest component's standard deviation."""
CORRELATION_LIMIT = 1e-3
VARIANCE_TOLERANCE = 1e-3
KEPT_LOSS_LIMIT = 0.05
"""As much as `drift` lets a new projection lose. `--refit auto` fits anew long before."""
_LEAST_SHARE = 1e-6
"""Components that explain less are rounding in float32: their correlations and shares say nothing."""


@dataclass
class Variance:
    """The total variance of scaled features, added up."""

    count: int = 0
    sums: NDArray[np.float64] | float = 0.0
    squares: float = 0.0

    def see(self, scaled: NDArray[np.float64]) -> None:
        """Look at some rows."""
        self.count += len(scaled)
        self.sums = self.sums + scaled.sum(axis=0)
        self.squares += float(np.einsum("ij,ij->", scaled, scaled))

    @property
    def scatter(self) -> float:
        """Sum of the squared distances from the mean."""
        return self.squares - float(np.square(self.sums).sum()) / max(1, self.count)


@dataclass
class Vectors:
    """What has been seen so far of a run's features.

    Args:
        contract: what each row must keep.
        projection: the run's.
        has_split: whether the run has images to fit on of their own; otherwise it was fitted on all.
        seed: of the sample: the same run gives the same sample.
        kept: whether the projection was fitted on other images than these, so that it need not describe them as well.
    """

    contract: Contract
    projection: Projection
    has_split: bool
    seed: int
    kept: bool = False
    categories: Counter[str] = field(default_factory=Counter)
    sample: pl.DataFrame | None = None
    _moments: Moments | None = None
    _variance: Variance = field(default_factory=Variance)
    _not_projected: int = 0

    def read(self, table: Table) -> None:
        """Read the whole table, a batch at a time."""
        for batch in table.batches():
            self.see(batch)

    def see(self, batch: pl.DataFrame) -> None:
        """Look at some rows."""
        self.contract.see(batch)
        self.categories.update(dict(batch["category"].value_counts().iter_rows()))
        d, k = self.projection.components.shape
        whole = batch.filter(pl.col("features").list.len() == d, pl.col("pca").list.len() == k)
        if whole.height:
            self._compare(whole)
            self._draw(whole)

    def checks(self) -> Iterator[Check]:
        """Tell what was found."""
        yield from self.contract.checks()
        yield Check.none("features: pca is not the projection of features", "rows", self._not_projected)
        if self._moments is not None:
            yield self._explained(self._moments)
            if not self.kept:
                yield from _spread(self._moments, self.projection.explained_variance)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The features' mean over the images that were fitted, or would be; d values."""
        seen = self._variance
        return self.projection.mean + seen.sums / max(1, seen.count) * self.projection.spread

    def _compare(self, batch: pl.DataFrame) -> None:
        """Apply the projection again, and add up the components of what it was fitted on."""
        stored, features = as_matrix(batch["pca"].to_arrow()), as_matrix(batch["features"].to_arrow())
        again = self.projection.project(features)
        scale = np.abs(again).max(initial=1e-12)
        self._not_projected += int((~(np.abs(stored - again) <= PCA_TOLERANCE * scale).all(axis=1)).sum())
        if self.has_split:
            fitted = (batch["split"] == FITTED_SPLIT).fill_null(value=False).to_numpy()
            stored, features = stored[fitted], features[fitted]
        if len(stored):
            self._variance.see(self.projection.scaled(features))
            moments = Moments.of(stored)
            self._moments = moments if self._moments is None else self._moments.merge(moments)

    def _explained(self, moments: Moments) -> Check:
        """Do the components explain as much of today's images as the projection says? A kept one may explain less."""
        now = float(np.trace(moments.scatter)) / max(self._variance.scatter, 1e-12)
        told = float(self.projection.explained_variance.sum())
        if self.kept:
            name = "features: variance that the kept projection explains less than when it was fitted"
            return Check.at_most(name, told - now, KEPT_LOSS_LIMIT, Severity.WARNING)
        return Check.at_most("features: explained variance, difference", abs(told - now), VARIANCE_TOLERANCE)

    def _draw(self, batch: pl.DataFrame) -> None:
        """Keep the rows whose paths hash lowest: a random sample that does not depend on the rows' order."""
        drawn = batch.select("path", "features", "pca", draw=pl.col("path").hash(self.seed))
        kept = drawn if self.sample is None else pl.concat([self.sample, drawn])
        self.sample = kept.bottom_k(SAMPLE_ROWS, by="draw")


def _spread(moments: Moments, shares: NDArray[np.float64]) -> Iterator[Check]:
    """Are the components of what was fitted uncorrelated, centred, and as large as the projection says?"""
    variances = np.diag(moments.scatter) / max(1, moments.count - 1)
    told = shares > _LEAST_SHARE
    deviations = np.sqrt(variances[told])
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = moments.scatter[np.ix_(told, told)] / max(1, moments.count - 1)
        correlations = covariance / np.outer(deviations, deviations)
        np.fill_diagonal(correlations, 0)
        offsets = np.abs(moments.mean[told]) / deviations
        differences = np.abs(variances / variances[0] - shares / shares[0])
    figures = (
        ("largest correlation of two components", np.abs(correlations), CORRELATION_LIMIT),
        ("largest mean of a component, in standard deviations", offsets, CORRELATION_LIMIT),
        ("variances against the explained ones, largest difference", differences, VARIANCE_TOLERANCE),
    )
    for name, values, limit in figures:
        yield Check.at_most(f"features: {name}", float(values.max()), limit)
