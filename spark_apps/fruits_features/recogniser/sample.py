"""Numbers the categories of the training images, and draws the sample for the cross-validation.

The sample is drawn among all images, so that it does not depend on the tasks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_IMAGES = 16_384
"""Number of sampled images, 8 MB of 128 components. More if each category would have fewer than `MIN_EACH`."""
MIN_EACH = 5
NONE = -1
"""Number of the category of images that are not trained on, and of images that are not in the sample."""


@dataclass(frozen=True)
class TrainingImages:
    """The role of each of n images in the training.

    Args:
        code: Number of the category, int32, n values; `NONE` for images that are not trained on.
        sample: Position in the sample, int32, n values; `NONE` for images that are not sampled.
    """

    code: NDArray[np.int32]
    sample: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        categories: int,
        code: NDArray[np.int32],
        images: NDArray[np.int64] | None = None,
        before: NDArray[np.int64] | None = None,
    ) -> "TrainingImages":
        """Draw the sample: about as many images of each category, because their priors are equal, evenly spaced.

        Args:
            categories: Number of categories with training images.
            code: Number of the category, int32, n values; `NONE` for images that are not trained on.
            images: Number of all training images by category; `None` if there are no others than these n.
            before: Number of training images before these n by category; `None` for none.

        >>> TrainingImages.of(2, np.int32([0, 1, NONE, 1])).sample.tolist()
        [0, 1, -1, 2]
        """
        trained = np.flatnonzero(code != NONE)
        order = trained[np.argsort(code[trained], kind="stable")]
        label, here = code[order], np.bincount(code[trained], minlength=categories)
        images = here if images is None else images
        before = np.zeros_like(images) if before is None else before
        position = np.arange(len(order)) + (before + here - np.cumsum(here))[label]
        each = max(MIN_EACH, SAMPLE_IMAGES // max(1, categories))
        drawn = np.minimum(images, each)
        number = (np.cumsum(drawn) - drawn)[label] + position * drawn[label] // images[label]
        is_drawn = is_evenly_spaced(position, images[label], each)
        sample = np.full(len(code), NONE, np.int32)
        sample[order[is_drawn]] = number[is_drawn]
        return cls(code, sample)


def is_evenly_spaced(position: NDArray[np.int64], count: NDArray[np.int64], chosen: int) -> NDArray[np.bool_]:
    """Return whether positions are among `chosen` evenly spaced ones of `count`, or all if there are fewer.

    >>> is_evenly_spaced(np.arange(6), np.array(6), 2).tolist()
    [False, False, True, False, False, True]
    """
    return np.asarray((count <= chosen) | ((position + 1) * chosen // count > position * chosen // count), np.bool_)
