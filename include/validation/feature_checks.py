"""Check the rows of `features/` and the statistics of their vectors in one pass.

Memory holds sums instead of rows: moments of the components, counts by category and a small sample.
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
    from include.validation.table_rules import TableRules

PROJECTED = "features: pca equals the projection of features"
SAMPLE_ROWS = 48
PCA_TOLERANCE = 1e-4
"""Largest difference of the stored `pca` from the projection applied again, relative to the batch's largest value."""
CORRELATION_LIMIT = 1e-3
"""Largest correlation of two components, and largest mean of a component in standard deviations."""
VARIANCE_TOLERANCE = 1e-3
"""Largest difference of a share of explained variance from the projection's."""
KEPT_LOSS_LIMIT = 0.05
"""Largest loss of explained variance of a kept projection, as in `drift`. `--refit auto` fits again long before."""
_MIN_SHARE = 1e-6
"""Smallest share of variance of a checked component. Below it, float32 rounding dominates."""


@dataclass
class Variance:
    """Sums from which the total variance of scaled features follows."""

    count: int = 0
    sums: NDArray[np.float64] | float = 0.0
    squares: float = 0.0

    def add(self, scaled: NDArray[np.float64]) -> None:
        """Add rows of scaled features, shape (n, d)."""
        self.count += len(scaled)
        self.sums = self.sums + scaled.sum(axis=0)
        self.squares += float(np.einsum("ij,ij->", scaled, scaled))

    @property
    def scatter(self) -> float:
        """Sum of the squared distances from the mean."""
        return self.squares - float(np.square(self.sums).sum()) / max(1, self.count)


@dataclass
class FeatureChecks:
    """Checks and statistics of the rows of `features/` read so far.

    Args:
        rules: Rules of the table.
        projection: Projection of the run.
        has_split: Whether the run has a split to fit on. Otherwise the projection was fitted on all images.
        seed: Seed of the sample. The same run has the same sample.
        kept: Whether the projection was fitted on the images of an earlier run, so that statistics may differ.
    """

    rules: TableRules
    projection: Projection
    has_split: bool
    seed: int
    kept: bool = False
    categories: Counter[str] = field(default_factory=Counter)
    sample: pl.DataFrame | None = None
    _moments: Moments | None = None
    _variance: Variance = field(default_factory=Variance)
    _not_projected: int = 0

    def add(self, batch: pl.DataFrame) -> None:
        """Add the rows of a batch."""
        self.rules.add(batch)
        self.categories.update(dict(batch["category"].value_counts().iter_rows()))
        d, k = self.projection.components.shape
        complete = batch.filter(pl.col("features").list.len() == d, pl.col("pca").list.len() == k)
        if complete.height:
            self._compare(complete)
            self._update_sample(complete)

    def checks(self) -> Iterator[Check]:
        """Yield the checks of all rows read."""
        yield from self.rules.checks()
        if self.sample is None:
            yield Check.not_checked(PROJECTED, "no row is complete")
        else:
            yield Check.none(PROJECTED, "rows differ", self._not_projected)
        if self._moments is None:
            yield Check.not_checked("features: statistics of the components", "no image to fit on has features")
        else:
            yield self._explained_variance_check(self._moments)
            if not self.kept:
                yield from _component_checks(self._moments, self.projection.explained_variance)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the features over the images of the fitted split, shape (d,)."""
        variance = self._variance
        return self.projection.mean + variance.sums / max(1, variance.count) * self.projection.spread

    def _compare(self, batch: pl.DataFrame) -> None:
        """Compare `pca` with the projection of `features`, and add the fitted split's rows to the statistics."""
        stored, features = as_matrix(batch["pca"].to_arrow()), as_matrix(batch["features"].to_arrow())
        projected = self.projection.project(features)
        scale = np.abs(projected).max(initial=1e-12)
        self._not_projected += int((~(np.abs(stored - projected) <= PCA_TOLERANCE * scale).all(axis=1)).sum())
        if self.has_split:
            fitted = (batch["split"] == FITTED_SPLIT).fill_null(value=False).to_numpy()
            stored, features = stored[fitted], features[fitted]
        if len(stored):
            self._variance.add(self.projection.scaled(features))
            moments = Moments.of(stored)
            self._moments = moments if self._moments is None else self._moments.merge(moments)

    def _explained_variance_check(self, moments: Moments) -> Check:
        """Check that the components explain the variance that the projection states. A kept one may explain less."""
        actual = float(np.trace(moments.scatter)) / max(self._variance.scatter, 1e-12)
        stated = float(self.projection.explained_variance.sum())
        if self.kept:
            name = "features: kept projection explains as much as when it was fitted"
            return Check.at_most(name, stated - actual, KEPT_LOSS_LIMIT, Severity.WARNING)
        return Check.at_most(
            "features: explained variance equals the projection's", abs(stated - actual), VARIANCE_TOLERANCE
        )

    def _update_sample(self, batch: pl.DataFrame) -> None:
        """Keep the rows with the lowest hashes of their paths, a random sample that is independent of their order."""
        drawn = batch.select("path", "features", "pca", draw=pl.col("path").hash(self.seed))
        kept = drawn if self.sample is None else pl.concat([self.sample, drawn])
        self.sample = kept.bottom_k(SAMPLE_ROWS, by="draw")


def _component_checks(moments: Moments, shares: NDArray[np.float64]) -> Iterator[Check]:
    """Check that the components of the fitted images are uncorrelated, centred and of the stated variance."""
    variances = np.diag(moments.scatter) / max(1, moments.count - 1)
    checked = shares > _MIN_SHARE
    if not checked.any():
        yield Check.not_checked("features: correlations and means", f"no component explains more than {_MIN_SHARE:g}")
        return
    deviations = np.sqrt(variances[checked])
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = moments.scatter[np.ix_(checked, checked)] / max(1, moments.count - 1)
        correlations = covariance / np.outer(deviations, deviations)
        np.fill_diagonal(correlations, 0)
        offsets = np.abs(moments.mean[checked]) / deviations
        differences = np.abs(variances / variances[0] - shares / shares[0])
    figures = (
        ("components are uncorrelated", np.abs(correlations), CORRELATION_LIMIT),
        ("components have mean 0", offsets, CORRELATION_LIMIT),
        ("variances of components equal the projection's", differences, VARIANCE_TOLERANCE),
    )
    for name, values, limit in figures:
        yield Check.at_most(f"features: {name}", float(values.max()), limit)
