"""Pixels: the image itself, scaled down and flattened. A baseline for the other families."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import NormalizedImage

SIDE = 32
PARAMETERS = {"side": SIDE}


def extract(image: NormalizedImage) -> NDArray[np.float32]:
    """Return the image scaled to 32 x 32 pixels: 3,072 values in 0 to 1, float32, row by row, RGB.

    >>> import numpy as np
    >>> float(extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8))).min())
    1.0
    """
    small = cv2.resize(image.rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small.reshape(-1).astype(np.float32) / np.float32(255)
