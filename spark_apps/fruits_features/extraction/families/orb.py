"""ORB: the share of an image's keypoints that set each bit of the descriptor.

Source: E. Rublee, V. Rabaud, K. Konolige, G. Bradski, "ORB: an efficient alternative to SIFT or SURF", ICCV 2011.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import NormalizedImage

BITS = 256
PARAMETERS = {"statistic": "mean of descriptor bits over keypoints"}


def extract(image: NormalizedImage) -> NDArray[np.float32]:
    """Return the share of descriptors that set each bit: 256 values in 0 to 1, float32. All are 0 without keypoints.

    >>> import numpy as np
    >>> extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8))).sum()
    np.float32(0.0)
    """
    descriptors = image.descriptors
    if not len(descriptors):
        return np.zeros(BITS, np.float32)
    bits = np.unpackbits(descriptors, axis=1)
    return np.asarray(cv2.reduce(bits, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0], np.float32)
