"""Colour: a histogram of hue, saturation and value.

M. J. Swain, D. H. Ballard, "Color indexing", IJCV 7 (1991); the square root of the shares (Hellinger's kernel) after
R. Arandjelovic, A. Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.views import View

BINS = [16, 8, 4]
PARAMETERS = {"space": "HSV", "bins": BINS, "power": 0.5}
_RANGES = [0, 180, 0, 256, 0, 256]  # OpenCV's 8-bit hue goes to 180 (degrees halved)


def describe(view: View) -> NDArray[np.float32]:
    """Count the image's colours: 512 square roots of shares, whose squares add up to 1.

    >>> import numpy as np
    >>> float(np.square(describe(View(np.full((100, 100, 3), 255, np.uint8)))).sum())
    1.0
    """
    hsv = cv2.cvtColor(view.rgb, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, BINS, _RANGES)
    return np.asarray(np.sqrt(counts.ravel() / (hsv.shape[0] * hsv.shape[1])), np.float32)
