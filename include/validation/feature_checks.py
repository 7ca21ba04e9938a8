"""Check the statistics of the vectors in `features/`.

The statistics are sums, so that those of files and batches can be added: moments of the components, and sums of the
features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fruits_features.io.vectors import as_matrix
from fruits_features.pca.fit import Moments, merge_all
from include.validation.checks import Check, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from fruits_features.projection import Projection

PROJECTED = "features: pca equals the projection of features"
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


@dataclass(frozen=True)
class Variance:
    """Sums from which mean and total variance of scaled features follow."""

    count: int = 0
    sums: NDArray[np.float64] | float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, scaled: NDArray[np.float64]) -> Variance:
        """Return the sums of rows of scaled features, n x d."""
        return cls(len(scaled), scaled.sum(axis=0), float(np.einsum("ij,ij->", scaled, scaled)))

    def merge(self, other: Variance) -> Variance:
        """Return the sums of both."""
        return Variance(self.count + other.count, self.sums + other.sums, self.squares + other.squares)

    @property
    def scatter(self) -> float:
        """Sum of the squared distances from the mean."""
        return self.squares - float(np.square(self.sums).sum()) / max(1, self.count)


@dataclass(frozen=True)
class VectorStatistics:
    """Statistics of the complete rows of `features/`.

    Args:
        rows: Number of rows whose vectors have the lengths of the projection.
        not_projected: Number of those whose `pca` is not the projection of `features`.
        moments: Moments of `pca` over the fitted images; `None` if there are none.
        variance: Sums of their scaled features.
    """

    rows: int = 0
    not_projected: int = 0
    moments: Moments | None = None
    variance: Variance = field(default_factory=Variance)

    @classmethod
    def of(cls, rows: pa.RecordBatch, projection: Projection, fitted: NDArray[np.bool_]) -> VectorStatistics:
        """Compare `pca` with the projection of `features`, and sum up the rows of the fitted images.

        Args:
            rows: Rows with complete vectors.
            projection: Projection of the run.
            fitted: Whether the projection was fitted on each row.
        """
        if not rows.num_rows:
            return cls()
        stored, features = as_matrix(rows["pca"]), as_matrix(rows["features"])
        projected = projection.project(features)
        scale = np.abs(projected).max(initial=1e-12)
        different = int((~(np.abs(stored - projected) <= PCA_TOLERANCE * scale).all(axis=1)).sum())
        if not fitted.any():
            return cls(rows.num_rows, different)
        moments, variance = Moments.of(stored[fitted]), Variance.of(projection.scaled(features[fitted]))
        return cls(rows.num_rows, different, moments, variance)

    def merge(self, other: VectorStatistics) -> VectorStatistics:
        """Return the statistics of both."""
        return VectorStatistics(
            self.rows + other.rows,
            self.not_projected + other.not_projected,
            merge_all([self.moments, other.moments]),
            self.variance.merge(other.variance),
        )

    def mean(self, projection: Projection) -> NDArray[np.float64]:
        """Return the mean of the features over the fitted images, shape (d,)."""
        return projection.mean + self.variance.sums / max(1, self.variance.count) * projection.spread


def check(statistics: VectorStatistics, projection: Projection, *, kept: bool) -> Iterator[Check]:
    """Yield the checks of the vectors.

    Args:
        statistics: Statistics of all rows.
        projection: Projection of the run.
        kept: Whether the projection was fitted on the images of an earlier run, so that statistics may differ.
    """
    if not statistics.rows:
        yield Check.not_checked(PROJECTED, "no row is complete")
    else:
        yield Check.none(PROJECTED, "rows differ", statistics.not_projected)
    if statistics.moments is None:
        yield Check.not_checked("features: statistics of the components", "no image to fit on has features")
        return
    explained = float(np.trace(statistics.moments.scatter)) / max(statistics.variance.scatter, 1e-12)
    yield _explained_variance_check(explained, float(projection.explained_variance.sum()), kept=kept)
    if not kept:
        yield from _component_checks(statistics.moments, projection.explained_variance)


def _explained_variance_check(actual: float, stated: float, *, kept: bool) -> Check:
    """Check that the components explain the variance that the projection states. A kept one may explain less."""
    if kept:
        name = "features: kept projection explains as much as when it was fitted"
        return Check.at_most(name, stated - actual, KEPT_LOSS_LIMIT, Severity.WARNING)
    name = "features: explained variance equals the projection's"
    return Check.at_most(name, abs(stated - actual), VARIANCE_TOLERANCE)


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
