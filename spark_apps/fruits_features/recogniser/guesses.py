"""The most probable category of many images, in bounded memory."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fruits_features.recogniser.model import Recogniser

MAX_PROBABILITIES = 2**21
"""Probabilities in memory at a time, 16 MB per array."""


class Guesses(NamedTuple):
    """Most probable category of n images.

    Args:
        category: Its place among the recogniser's categories, n values.
        probability: Its probability, n values.
    """

    category: NDArray[np.int64]
    probability: NDArray[np.float64]


def guess(recogniser: Recogniser, components: NDArray[np.float32]) -> Guesses:
    """Return the most probable category of each image.

    Args:
        recogniser: Recogniser of a run.
        components: Components of n images, n x k.
    """
    guesses = Guesses(np.empty(len(components), np.int64), np.empty(len(components), np.float64))
    rows = max(1, MAX_PROBABILITIES // len(recogniser.categories))
    for start in range(0, len(components), rows):
        block = slice(start, start + rows)
        probabilities = recogniser.probabilities(components[block])
        guesses.category[block] = probabilities.argmax(axis=1)
        guesses.probability[block] = probabilities.max(axis=1)
    return guesses
