"""What the families look at: one decoded image, brought to a common size, and what is computed from it once.

Families are tuned for Fruits-360's 100 x 100 pixels. A larger photograph is scaled down to fit into that square,
keeping its proportions; a smaller one is left as it is.
"""

from functools import cache, cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 100
"""Length in pixels of the square that every described image fits into."""

ORB_PARAMETERS = {"nfeatures": 500, "edgeThreshold": 5, "fastThreshold": 5}
"""OpenCV's defaults (31 and 20) leave 11 % of real 100-pixel fruit photographs without a keypoint; these leave none."""

DESCRIPTOR_BYTES = 32


class View:
    """One image as the families see it.

    Args:
        pixels: the decoded image, height x width x 3, uint8, RGB.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.rgb = fit(pixels)

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """The image in grey: height x width, uint8."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), np.uint8)

    @cached_property
    def descriptors(self) -> NDArray[np.uint8]:
        """ORB's descriptors: keypoints x 32, uint8; no row when the image has no keypoint."""
        if min(self.grey.shape) <= 2 * ORB_PARAMETERS["edgeThreshold"]:  # all edge; OpenCV fails on the tiniest
            return np.zeros((0, DESCRIPTOR_BYTES), np.uint8)
        _, descriptors = _orb().detectAndCompute(self.grey, None)
        if descriptors is None:
            return np.zeros((0, DESCRIPTOR_BYTES), np.uint8)
        return np.asarray(descriptors, np.uint8)


def fit(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale an image down to fit into the square; one that fits already is returned as it is.

    >>> fit(np.zeros((464, 348, 3), np.uint8)).shape
    (100, 75, 3)
    >>> fit(np.zeros((20, 30, 3), np.uint8)).shape
    (20, 30, 3)
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= SIDE:
        return pixels
    size = (max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


@cache
def _orb() -> cv2.ORB:
    """Make the detector once a process: making one costs as much as using it."""
    return cv2.ORB.create(**ORB_PARAMETERS)
