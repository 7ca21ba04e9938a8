"""Contrast: joint histogram of the differences between pixels and their surroundings, such as stripes and freckles.

Pixels and surroundings have the same illuminant, so its colour cancels out. Weights and square roots are those of
`color`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import WEIGHT_PARAMETERS, NormalizedImage

SURROUNDINGS = 9
"""Side in pixels of the square around a pixel of the relit image that the pixel is compared with."""

BINS = 5
"""Number of bins per channel. The middle one is centred at 0. Values outside count in the end bins."""

WIDTHS = (14, 6, 6)
"""Levels per bin of luma, red difference and blue difference."""

PARAMETERS = {
    "space": "YCrCb",
    "surroundings": SURROUNDINGS,
    "bins": BINS,
    "widths": WIDTHS,
    **WEIGHT_PARAMETERS,
    "power": 0.5,
}
DIMENSION = BINS ** len(WIDTHS)


def extract(image: NormalizedImage) -> NDArray[np.float32]:
    """Return the square root of each difference's share of the weight: 125 values in 0 to 1, float32.

    The squares add up to 1.

    >>> features = extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8)))
    >>> int(features.argmax()), float(features.max())
    (62, 1.0)
    """
    differences = cv2.subtract(image.ycrcb, cv2.blur(image.ycrcb, _SQUARE), dtype=cv2.CV_8S)  # -128 to 127
    codes = cv2.transform(cv2.LUT(differences.view(np.uint8), _TABLE), _SUM)
    weight = np.bincount(codes.ravel(), weights=image.weights.ravel(), minlength=DIMENSION)
    return np.asarray(np.sqrt(weight / weight.sum()), np.float32)


def _table() -> NDArray[np.uint8]:
    """Return a table per channel from difference to its summand of the joint bin's number."""
    differences = np.arange(256, dtype=np.uint8).view(np.int8).astype(int)[:, np.newaxis]
    bins = np.clip((differences + BINS * np.array(WIDTHS) // 2) // WIDTHS, 0, BINS - 1)
    return np.asarray(bins * (BINS**2, BINS, 1), np.uint8).reshape(256, 1, 3)


_SQUARE = (SURROUNDINGS, SURROUNDINGS)
_SUM = np.ones((1, 3))
_TABLE = _table()
