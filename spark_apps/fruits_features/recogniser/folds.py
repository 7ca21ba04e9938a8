"""Groups similar training images of a category, so that no near-duplicate of a held-out image is trained on.

Photographs of one visit to a shop, and frames of one sequence, resemble each other more than new photographs will.
Names of files do not reveal them. Folds of similar images estimate the accuracy on new photographs about as well as
known visits do, and folds of random images do not (docs/measurements/recognition.md).
"""

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
_ROUNDS = 3
"""Rounds of k-means. More change the result little."""


def similar_folds(components: NDArray[np.float32], code: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the fold of each image: its cluster among the images of its category.

    The number of the category is added to that of the cluster. So categories with few images are spread over all folds.
    The components are divided by the square root of their standard deviation, which is half of a whitening.

    Args:
        components: Components, n x k, float32.
        code: Number of each image's category, increasing, n values.
    """
    deviation = components.std(axis=0, dtype=np.float64)
    scaled = np.asarray(components / np.sqrt(np.where(deviation > 0, deviation, 1)), np.float32)
    _, starts, category = np.unique(code, return_index=True, return_inverse=True)
    cluster = _nearest(scaled, _distant_images(scaled, starts, category), category)
    for _ in range(_ROUNDS):
        cluster = _nearest(scaled, _means(scaled, cluster, category), category)
    return np.asarray((cluster + code) % FOLDS, np.int64)


def _distant_images(
    rows: NDArray[np.float32], starts: NDArray[np.int64], category: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return images of each category that are far from each other, categories x folds x k.

    The first is the farthest from the category's mean. Each following one is the farthest from all before.
    """
    counts = np.diff(np.append(starts, len(rows)))[:, np.newaxis]
    means = np.asarray(np.add.reduceat(rows, starts, axis=0) / counts, np.float32)
    distance = _distances(rows, means[category])
    chosen = []
    for _ in range(FOLDS):
        farthest = np.maximum.reduceat(distance, starts)[category] == distance
        rows_of_farthest = np.flatnonzero(farthest)
        _, first = np.unique(category[rows_of_farthest], return_index=True)
        chosen.append(rows[rows_of_farthest[first]])
        to_chosen = _distances(rows, chosen[-1][category])
        distance = to_chosen if len(chosen) == 1 else np.minimum(distance, to_chosen)
    return np.stack(chosen, axis=1)


def _nearest(rows: NDArray[np.float32], centres: NDArray[np.float32], category: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the nearest centre of its category for each image."""
    distances = [_distances(rows, centres[category, number]) for number in range(FOLDS)]
    return np.asarray(np.argmin(distances, axis=0), np.int64)


def _means(rows: NDArray[np.float32], cluster: NDArray[np.int64], category: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean of each cluster, categories x folds x k. The mean of an empty cluster is far from all images."""
    group = category * FOLDS + cluster
    order = np.argsort(group, kind="stable")
    groups, starts, counts = np.unique(group[order], return_index=True, return_counts=True)
    means = np.full(((int(category.max()) + 1) * FOLDS, rows.shape[1]), np.inf, np.float32)
    means[groups] = np.add.reduceat(rows[order], starts, axis=0) / counts[:, np.newaxis].astype(np.float32)
    return np.asarray(means.reshape(-1, FOLDS, rows.shape[1]), np.float32)


def _distances(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared distance of each row from the same row of other ones."""
    difference = rows - others
    return np.asarray(np.einsum("nk,nk->n", difference, difference), np.float32)
