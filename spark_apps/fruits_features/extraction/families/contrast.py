"""Contrast: how much lighter, redder or bluer pixels are than their surroundings. Stripes, blushes, freckles, stones.

What is compared lies under the same lamp: the lamp's colour falls out, where it would shift colours themselves. A joint
histogram as in `color`, with its weights and square roots, of what a wide mean leaves over.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import WEIGHT_PARAMETERS, NormalizedImage

SURROUNDINGS = 9
"""Length in pixels of the square around a pixel of the relit image that it is compared with."""

BINS = 5
"""Of each difference; the middle one is around 0, and what lies outside goes to the end bins."""

WIDTHS = (14, 6, 6)
"""Levels a bin, of luma, red and blue difference."""

PARAMETERS = {
    "space": "YCrCb",
    "surroundings": SURROUNDINGS,
    "bins": BINS,
    "widths": WIDTHS,
    **WEIGHT_PARAMETERS,
    "power": 0.5,
}
DIMENSION = BINS ** len(WIDTHS)


def extract(view: NormalizedImage) -> NDArray[np.float32]:
    """Take the square root of every difference's share of the image's weight; the squares add up to 1.

    >>> features = extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8)))
    >>> int(features.argmax()), float(features.max())
    (62, 1.0)
    """
    differences = cv2.subtract(view.ycrcb, cv2.blur(view.ycrcb, _SQUARE), dtype=cv2.CV_8S)  # -128 to 127
    codes = cv2.transform(cv2.LUT(differences.view(np.uint8), _TABLE), _SUM)
    weight = np.bincount(codes.ravel(), weights=view.weights.ravel(), minlength=DIMENSION)
    return np.asarray(np.sqrt(weight / weight.sum()), np.float32)


def _table() -> NDArray[np.uint8]:
    """Make each channel's table from difference to its part of the joint bin's number; the three parts add up to it."""
    differences = np.arange(256, dtype=np.uint8).view(np.int8).astype(int)[:, np.newaxis]
    bins = np.clip((differences + BINS * np.array(WIDTHS) // 2) // WIDTHS, 0, BINS - 1)
    return np.asarray(bins * (BINS**2, BINS, 1), np.uint8).reshape(256, 1, 3)


_SQUARE = (SURROUNDINGS, SURROUNDINGS)
_SUM = np.ones((1, 3))
_TABLE = _table()
