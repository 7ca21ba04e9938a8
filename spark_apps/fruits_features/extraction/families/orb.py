"""ORB: corners in grey images, as the share of keypoints that set each bit of the descriptor.

E. Rublee, V. Rabaud, K. Konolige, G. Bradski, "ORB: an efficient alternative to SIFT or SURF", ICCV 2011.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import NormalizedImage

BITS = 256
PARAMETERS = {"statistic": "mean of descriptor bits over keypoints"}


def extract(view: NormalizedImage) -> NDArray[np.float32]:
    """Summarise the descriptors of an image: 256 shares in 0 to 1, all zero when it has no keypoint.

    >>> import numpy as np
    >>> extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8))).sum()
    np.float32(0.0)
    """
    descriptors = view.descriptors
    if not len(descriptors):
        return np.zeros(BITS, np.float32)
    bits = np.unpackbits(descriptors, axis=1)
    return np.asarray(cv2.reduce(bits, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0], np.float32)
