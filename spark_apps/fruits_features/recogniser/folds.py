"""Distributes the training images over the folds of a cross-validation, and draws the sample that it recognises.

The driver does this for all images at once, so that folds and sample do not depend on the tasks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
MAX_SAMPLE = 4096
"""Largest number of sampled images: about 2 MB of components, and a standard error of the accuracy below 0.01."""
MAX_LOGITS = 4_000_000
"""Largest number of sampled images times categories, 32 MB. It lowers the sample of many categories."""
NOT_TRAINED = -1
"""Number of the category of images that are not in the training set."""


@dataclass(frozen=True)
class TrainingImages:
    """The role of each of n images in the training.

    Args:
        categories: Names of the categories with training images, sorted.
        code: Position in `categories`, int32, n values; `NOT_TRAINED` for other images.
        fold: Fold of the image, int8, n values. Without meaning for images that are not trained on.
        sampled: Whether the cross-validation recognises the image, bool, n values.
    """

    categories: tuple[str, ...]
    code: NDArray[np.int32]
    fold: NDArray[np.int8]
    sampled: NDArray[np.bool_]

    @classmethod
    def of(cls, categories: tuple[str, ...], code: NDArray[np.int32]) -> "TrainingImages":
        """Distribute images that are in the order of their keys within each category.

        The folds of a category are consecutive blocks of keys: photographs that were taken together mostly have
        neighbouring keys, and stay together. The first block of each category belongs to another fold, so that
        categories of few images are spread over all folds. The sample contains about the same number of images of each
        category, evenly spaced, because the categories have equal priors. A category of one image cannot be sampled.

        >>> images = TrainingImages.of(("Apple",), np.zeros(10, np.int32))
        >>> images.fold.tolist()
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        """
        trained = np.flatnonzero(code != NOT_TRAINED)
        order = trained[np.argsort(code[trained], kind="stable")]
        images = np.bincount(code[trained], minlength=len(categories))
        starts = np.cumsum(images) - images
        ordered = code[order]
        position, count = np.arange(len(order)) - starts[ordered], images[ordered]
        fold, sampled = np.zeros(len(code), np.int8), np.zeros(len(code), np.bool_)
        fold[order] = (position * FOLDS // count + ordered) % FOLDS
        sampled[order] = _is_sampled(ordered, position, count, len(categories))
        return cls(categories, code, fold, sampled)


def _is_sampled(
    code: NDArray[np.int32], position: NDArray[np.int64], count: NDArray[np.int64], categories: int
) -> NDArray[np.bool_]:
    """Return whether images are in the sample.

    Args:
        code: Number of each image's category.
        position: Position of the image in its category.
        count: Number of images of its category.
        categories: Number of categories.
    """
    size = min(MAX_SAMPLE, MAX_LOGITS // max(1, categories))
    each = max(1, size // max(1, categories))
    step = -(-categories // max(1, size))  # more categories than the sample has images: every step-th category
    is_drawn = (count <= each) | ((position + 1) * each // count > position * each // count)
    return np.asarray(is_drawn & (count > 1) & (code % step == 0), np.bool_)
