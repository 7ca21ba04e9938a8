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

from fruits_features.recogniser.sample import NONE

ZERO_VARIANCE = 1e-10
"""Largest share of the variance within categories that counts as rounding: each category has equal images then."""


@dataclass(frozen=True)
class Sample:
    """Sampled training images.

    Args:
        number: Position of each image in the sample, int32, n values.
        code: Number of its category, int32, n values.
        components: Components, float32, n x k.
    """

    number: NDArray[np.int32]
    code: NDArray[np.int32]
    components: NDArray[np.float32]

    def merge(self, other: "Sample") -> "Sample":
        """Return both samples together, in the order of the complete sample."""
        number = np.concatenate([self.number, other.number])
        order = np.argsort(number)
        code = np.concatenate([self.code, other.code])
        return Sample(number[order], code[order], np.concatenate([self.components, other.components])[order])


@dataclass(frozen=True)
class ComponentSums:
    """Sums of the components of training images.

    Only the categories that occur are kept, so that the sums of a file, which has few of many categories, stay small.

    Args:
        codes: Numbers of the C categories that occur, int32, increasing.
        counts: Number of images by category, int64, C values.
        sums: Sum of the components by category, float64, C x k.
        scatter: Sum of the outer products of the components, float64, k x k.
        sample: The sampled images.
    """

    codes: NDArray[np.int32]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    scatter: NDArray[np.float64]
    sample: Sample

    @classmethod
    def of(cls, components: NDArray[np.float32], code: NDArray[np.int32], sample: NDArray[np.int32]) -> "ComponentSums":
        """Return the sums of images.

        Args:
            components: Components, n x k, float32.
            code: Number of each image's category; `NONE` for images to leave out.
            sample: Position of each image in the sample; `NONE` for images outside.
        """
        trained = code != NONE
        drawn = np.argsort(sample)[np.count_nonzero(sample == NONE) :]
        labels = code[trained]
        order = np.argsort(labels, kind="stable")
        rows = components[trained][order].astype(np.float64)
        codes, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
        sums = np.add.reduceat(rows, starts, axis=0) if len(codes) else np.zeros((0, components.shape[1]))
        return cls(codes, counts, sums, rows.T @ rows, Sample(sample[drawn], code[drawn], components[drawn]))

    def merge(self, other: "ComponentSums") -> "ComponentSums":
        """Return the sums of these and other images together."""
        codes = np.union1d(self.codes, other.codes)
        counts, sums = np.zeros(len(codes), np.int64), np.zeros((len(codes), self.sums.shape[1]))
        for part in (self, other):
            rows = np.searchsorted(codes, part.codes)
            counts[rows] += part.counts
            sums[rows] += part.sums
        return ComponentSums(codes, counts, sums, self.scatter + other.scatter, self.sample.merge(other.sample))

    def discriminant(self) -> "Discriminant":
        """Return the discriminant of the images.

        If the images of each category are equal, there is no covariance within categories. Then the total variance
        takes its place in all directions, so that the nearest mean is the most probable category.
        """
        images, means = self.counts.sum(), self.sums / self.counts[:, np.newaxis]
        within = (self.scatter - self.sums.T @ means) / images
        centre = self.sums.sum(axis=0) / images
        total = float(np.trace(self.scatter)) / images - float(centre @ centre)
        if np.trace(within) <= ZERO_VARIANCE * np.trace(self.scatter) / images:
            within = np.eye(len(within)) * (total / len(within) if total > 0 else 1.0)
        values, vectors = np.linalg.eigh((within + within.T) / 2)
        return Discriminant(self.codes, means, np.clip(values, 0, None), vectors)


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

    def weights(self, shrinkage: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights, k x C, and offsets, C values, of the logits before calibration.

        Args:
            shrinkage: Share of the multiple of the identity with the same trace in the covariance, in (0, 1].
        """
        variances = (1 - shrinkage) * self.values + shrinkage * self.values.mean()
        weights = self.vectors @ ((self.means @ self.vectors) / variances).T
        return weights, -0.5 * np.einsum("ck,kc->c", self.means, weights)
