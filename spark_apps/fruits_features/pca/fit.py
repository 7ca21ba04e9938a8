"""Fits the principal components of features. Uses NumPy only.

Spark ML's `PCA` is slower (docs/measurements/constants.md). It also has no scaling by family, no share of the variance
to explain, and no fixed signs. `job.spark_ml` saves the projection as a Spark ML model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.errors import RunError
from fruits_features.contract.families import FAMILIES, dimensions
from fruits_features.projection import Projection

_RANK_TOLERANCE = 1e-10
"""Smallest share of the variance of a component. Smaller ones are rounding errors and differ between machines."""

_BLOCK_ROWS = 256
"""Rows that are centred at once. Their memory of about 1 MB is used again for each block; see
docs/measurements/constants.md."""


class ReductionError(RunError, ValueError):
    """The features do not have the requested components. The message names the fix."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter matrix of rows of features.

    Args:
        count: Number of rows, at least 1.
        mean: Mean of each feature, float64, d values.
        scatter: Sum of the outer products of the centred rows, float64, d x d.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> "Moments":
        """Return the moments of features, n x d, float32, n >= 1.

        Constant columns, such as colours that no image has, have a scatter of zero and are left out of the products.

        >>> Moments.of(np.float32([[1, 7, 2], [3, 7, 8]])).scatter.tolist()
        [[2.0, 0.0, 6.0], [0.0, 0.0, 0.0], [6.0, 0.0, 18.0]]
        """
        count, width = features.shape
        mean = features.mean(axis=0, dtype=np.float64)
        varying = np.flatnonzero(np.ptp(features, axis=0))
        products = np.zeros((len(varying), len(varying)))
        block, of_block = np.empty((min(count, _BLOCK_ROWS), len(varying))), np.empty_like(products)
        for start in range(0, count, _BLOCK_ROWS):
            rows = features[start : start + _BLOCK_ROWS].take(varying, axis=1)
            centred = np.subtract(rows, mean[varying], out=block[: len(rows)])
            products += np.matmul(centred.T, centred, out=of_block)
        scatter = np.zeros((width, width))
        scatter[np.ix_(varying, varying)] = products
        return cls(count, mean, scatter)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of these and other rows together.

        Numerically stable, and exact for constant columns. Source: T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating
        formulae and a pairwise algorithm for computing sample variances", Stanford STAN-CS-79-773 (1979).

        >>> a, b = np.float32([[1, 2], [3, 4]]), np.float32([[5, 9]])
        >>> merged, expected = Moments.of(a).merge(Moments.of(b)), Moments.of(np.vstack([a, b]))
        >>> bool(np.allclose(merged.scatter, expected.scatter))
        True
        """
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        between = np.outer(delta, delta) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)


def merge_all(parts: Iterable[Moments | None]) -> Moments | None:
    """Return the merged moments of all parts, without those that are `None`; `None` if no part is left."""
    present = (part for part in parts if part)
    first = next(present, None)
    return reduce(Moments.merge, present, first) if first else None


def fit(moments: Moments, families: Sequence[str], *, k: int | None, explained_variance: float | None) -> Projection:
    """Fit a projection.

    Args:
        moments: Moments of the features.
        families: Names of the families, in the order of their features.
        k: Number of components, at least 1; `None` to choose it by `explained_variance`.
        explained_variance: Share of the variance in (0, 1]. The smallest number of components that explains it is kept.

    Raises:
        ReductionError: The features have fewer than `k` components, or none.
    """
    covariance = moments.scatter / max(1, moments.count - 1)
    spread = family_spread(np.diag(covariance), families)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    values, vectors = np.linalg.eigh(covariance * np.outer(scale, scale))
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    if not values.sum() > 0:
        raise ReductionError(
            f"The {moments.count} images to fit have all the same features, so there is no variance to explain; "
            "add different images."
        )
    shares = values / values.sum()
    count = _component_count(shares, moments.count, k, explained_variance)
    return Projection(tuple(families), moments.mean, spread, fix_signs(vectors[:, :count]), shares[:count])


def family_spread(variances: NDArray[np.float64], families: Sequence[str]) -> NDArray[np.float64]:
    """Return the divisor of each feature: the square root of its family's total variance, over the family's weight.

    Each scaled family then has its weight as standard deviation, and its columns keep their proportions. Unit variance
    for each column would magnify rare bins.

    Args:
        variances: Variance of each feature, d values.
        families: Names of the families, in the order of their features.
    """
    counts = dimensions(families, len(variances))
    parts = np.split(variances, np.cumsum(counts)[:-1])
    spreads = [np.sqrt(part.sum()) / FAMILIES[name].weight for name, part in zip(families, parts, strict=True)]
    return np.repeat(spreads, counts)


def fix_signs(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return components, as columns, with signs such that the largest loading by absolute value is positive.

    >>> fix_signs(np.array([[0.6, 0.8], [-0.8, 0.6]])).tolist()
    [[-0.6, 0.8], [0.8, 0.6]]
    """
    largest = np.abs(components).argmax(axis=0)
    signs = np.sign(components[largest, np.arange(components.shape[1])])
    return np.asarray(components * signs, np.float64)


def _component_count(shares: NDArray[np.float64], images: int, k: int | None, explained_variance: float | None) -> int:
    rank = int((shares > _RANK_TOLERANCE).sum())
    if k is None:
        share = explained_variance if explained_variance is not None else 1.0
        return min(rank, int(np.searchsorted(shares.cumsum(), share - 1e-12)) + 1)
    if k > rank:
        raise ReductionError(
            f"--k is {k}, but the {images} images to fit have only {rank} components that differ from zero; "
            f"give a k of at most {rank}, or --explained-variance."
        )
    return k
