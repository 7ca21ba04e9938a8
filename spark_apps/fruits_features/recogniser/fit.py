"""Fits the recogniser: a linear discriminant with equal priors, from sums of the components. NumPy only.

Method: T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning", 2nd edition (2009), sections
4.3.1 (regularised discriminant analysis) and 4.3.2 (computation by eigenvalues). It is closed-form, so that the sums of
several tasks merge to the same recogniser. A logistic regression is equally good (docs/measurements/recognition.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from fruits_features.recogniser.folds import FOLDS, NOT_TRAINED

_ZERO_VARIANCE = 1e-10
"""Largest share of the variance within categories that counts as rounding: each category has equal images then."""


@dataclass(frozen=True)
class Sample:
    """Training images that the cross-validation recognises.

    Args:
        components: Components, float32, n x k.
        code: Number of the image's category, int32, n values.
        fold: Fold of the image, int8, n values.
    """

    components: NDArray[np.float32]
    code: NDArray[np.int32]
    fold: NDArray[np.int8]

    def merge(self, other: "Sample") -> "Sample":
        """Return both samples together."""
        return Sample(
            np.concatenate([self.components, other.components]),
            np.concatenate([self.code, other.code]),
            np.concatenate([self.fold, other.fold]),
        )


@dataclass(frozen=True)
class ComponentSums:
    """Sums of the components of training images.

    Only the categories that occur are kept, so that the sums of a file, which has few of many categories, stay small.

    Args:
        codes: Numbers of the C categories that occur, int32, increasing.
        counts: Number of images by category and fold, int64, C x F.
        sums: Sum of the components by category and fold, float64, C x F x k.
        scatter: Sum of the outer products of the components by fold, float64, F x k x k.
        sample: The sampled images.
    """

    codes: NDArray[np.int32]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    scatter: NDArray[np.float64]
    sample: Sample

    @classmethod
    def of(
        cls,
        components: NDArray[np.float32],
        code: NDArray[np.int32],
        fold: NDArray[np.int8],
        sampled: NDArray[np.bool_],
    ) -> "ComponentSums":
        """Return the sums of images.

        Args:
            components: Components, n x k, float32.
            code: Number of each image's category; `NOT_TRAINED` for images to leave out.
            fold: Fold of each image.
            sampled: Whether each image is in the sample.
        """
        trained = code != NOT_TRAINED
        components, code, fold, sampled = components[trained], code[trained], fold[trained], sampled[trained]
        codes, row = np.unique(code, return_inverse=True)
        k, group = components.shape[1], row * FOLDS + fold
        order = np.argsort(group, kind="stable")
        groups, starts = np.unique(group[order], return_index=True)
        rows = components[order].astype(np.float64)
        sums = np.zeros((len(codes) * FOLDS, k))
        if len(groups):
            sums[groups] = np.add.reduceat(rows, starts, axis=0)
        ordered_fold = fold[order]
        return cls(
            codes,
            np.bincount(group, minlength=len(codes) * FOLDS).reshape(-1, FOLDS),
            sums.reshape(-1, FOLDS, k),
            np.stack([_scatter(rows[ordered_fold == number]) for number in range(FOLDS)]),
            Sample(components[sampled], code[sampled], fold[sampled]),
        )

    def merge(self, other: "ComponentSums") -> "ComponentSums":
        """Return the sums of these and other images together."""
        codes = np.union1d(self.codes, other.codes)
        counts = np.zeros((len(codes), FOLDS), np.int64)
        sums = np.zeros((len(codes), *self.sums.shape[1:]))
        for part in (self, other):
            rows = np.searchsorted(codes, part.codes)
            counts[rows] += part.counts
            sums[rows] += part.sums
        return ComponentSums(codes, counts, sums, self.scatter + other.scatter, self.sample.merge(other.sample))

    def discriminant(self, without_fold: int | None = None) -> "Discriminant":
        """Return the discriminant of all images, or of those outside a fold."""
        counts, sums, scatter = self.counts.sum(axis=1), self.sums.sum(axis=1), self.scatter.sum(axis=0)
        if without_fold is not None:
            counts -= self.counts[:, without_fold]
            sums -= self.sums[:, without_fold]
            scatter -= self.scatter[without_fold]
        learned = counts > 0
        return Discriminant.of(self.codes[learned], counts[learned], sums[learned], scatter)


def merge_all(parts: Iterable[ComponentSums]) -> ComponentSums:
    """Return the merged sums of all parts, at least one."""
    return reduce(ComponentSums.merge, parts)


@dataclass(frozen=True)
class Discriminant:
    """Means of categories and their common covariance.

    Args:
        codes: Numbers of the C categories, increasing.
        means: Mean of each category, float64, C x k.
        values: Eigenvalues of the covariance within categories, float64, k values.
        vectors: Its eigenvectors as columns, float64, k x k.
    """

    codes: NDArray[np.int32]
    means: NDArray[np.float64]
    values: NDArray[np.float64]
    vectors: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        codes: NDArray[np.int32],
        counts: NDArray[np.int64],
        sums: NDArray[np.float64],
        scatter: NDArray[np.float64],
    ) -> "Discriminant":
        """Return the discriminant of sums by category and of the sum of the outer products.

        If the images of each category are equal, there is no covariance within categories. Then the total variance
        takes its place in all directions, so that the nearest mean is the most probable category.
        """
        images, means = counts.sum(), sums / counts[:, np.newaxis]
        within = (scatter - sums.T @ means) / images
        centre = sums.sum(axis=0) / images
        total = float(np.trace(scatter)) / images - float(centre @ centre)
        if np.trace(within) <= _ZERO_VARIANCE * np.trace(scatter) / images:
            within = np.eye(len(within)) * (total / len(within) if total > 0 else 1.0)
        values, vectors = np.linalg.eigh((within + within.T) / 2)
        return cls(codes, means, np.clip(values, 0, None), vectors)

    def weights(self, shrinkage: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights, k x C, and offsets, C values, of the logits before calibration.

        Args:
            shrinkage: Share of the multiple of the identity with the same trace in the covariance, in (0, 1].
        """
        variances = (1 - shrinkage) * self.values + shrinkage * self.values.mean()
        weights = self.vectors @ ((self.means @ self.vectors) / variances).T
        return weights, -0.5 * np.einsum("ck,kc->c", self.means, weights)


def _scatter(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows.T @ rows
