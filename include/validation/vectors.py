"""One pass over `features/`: every row against its contract, and what its vectors have to be together.

Keeps sums, not rows: moments of the components, counts by category, and a small sample.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fruits_features.components import Moments
from fruits_features.inventory import FITTED_SPLIT
from fruits_features.worker import as_matrix
from include.validation.checks import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fruits_features.projection import Projection
    from include.validation.contract import Contract
    from include.validation.files import Table

SAMPLE_ROWS = 48
PCA_TOLERANCE = 1e-4
"""Of the stored `pca` against the projection applied again, in units of the largest component's standard deviation."""
CORRELATION_LIMIT = 1e-3
VARIANCE_TOLERANCE = 1e-3
_LEAST_SHARE = 1e-6
"""Components that explain less are rounding in float32: their correlations and shares say nothing."""


@dataclass
class Vectors:
    """What has been seen so far of a run's features.

    Args:
        contract: what each row must keep.
        projection: the run's.
        has_split: whether the run has images to fit on of their own; otherwise it was fitted on all.
        seed: of the sample: the same run gives the same sample.
    """

    contract: Contract
    projection: Projection
    has_split: bool
    seed: int
    categories: Counter[str] = field(default_factory=Counter)
    sample: pl.DataFrame | None = None
    _moments: Moments | None = None
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
            yield from _spread(self._moments, self.projection.explained_variance)

    def _compare(self, batch: pl.DataFrame) -> None:
        """Apply the projection again, and add up the components of what it was fitted on."""
        stored = as_matrix(batch["pca"].to_arrow())
        again = self.projection.project(as_matrix(batch["features"].to_arrow()))
        scale = np.abs(again).max(initial=1e-12)
        self._not_projected += int((~(np.abs(stored - again) <= PCA_TOLERANCE * scale).all(axis=1)).sum())
        if self.has_split:
            stored = stored[(batch["split"] == FITTED_SPLIT).fill_null(value=False).to_numpy()]
        if len(stored):
            moments = Moments.of(stored)
            self._moments = moments if self._moments is None else self._moments.merge(moments)

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
