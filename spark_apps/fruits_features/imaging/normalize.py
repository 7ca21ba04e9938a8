"""What the families look at: one decoded image, brought to a common size, and what is computed from it once.

Families are tuned for Fruits-360's 100 x 100 pixels. A larger photograph is scaled down to fit into that square,
keeping its proportions; a smaller one is left as it is.
"""

from functools import cache, cached_property, lru_cache

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

SIDE = 100
"""Length in pixels of the square that every described image fits into."""

ORB_PARAMETERS = {"nfeatures": 50, "nlevels": 1, "edgeThreshold": 5, "fastThreshold": 10}
"""For 100-pixel images. OpenCV's thresholds (31 and 20) leave 11 % of real fruit photographs of that size without a
keypoint; these leave none, and nine in ten with all 50. Twice as many at a threshold of 5 cost twice as much, OpenCV's
500 on 8 levels five times, for features that tell no more."""

DESCRIPTOR_BYTES = 32

CENTRE_SPREAD = 0.4
"""Standard deviation of the Gaussian around the image's centre, as a share of its sides."""

LIGHT_NORM = 3
"""Minkowski norm that estimates the lamp's colour: 1 would be the mean (grey world), infinity the brightest pixel."""

LIGHT_SHARE = 0.4
"""How much of the lamp's colour is taken out. All of it would take the fruit's own colour out too."""

BRIGHT_SHARE, BRIGHT_LEVEL, BRIGHT_GAINS = 0.9, 200, (0.7, 1.6)
"""The grey level that this share of the pixels does not pass goes to this level, by a factor within these limits."""

WEIGHT_PARAMETERS = {
    "image": "half the sides, by area",
    "weights": "chroma + 1, centre",
    "spread": CENTRE_SPREAD,
    "light": {"norm": LIGHT_NORM, "share": LIGHT_SHARE},
    "brightness": {"share": BRIGHT_SHARE, "level": BRIGHT_LEVEL, "gains": BRIGHT_GAINS},
}
"""What families that look at the relit image, or at the weights, depend on."""

_LEVELS = np.arange(256, dtype=np.float64)
_POWERS = (_LEVELS**LIGHT_NORM).astype(np.float32)  # whole numbers below 2**24: exact, in whatever order they are added
_SQUARED_OFFSETS = np.square(np.arange(256, dtype=np.float32) - 128)


class NormalizedImage:
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
    def relit(self) -> NDArray[np.uint8]:
        """The image at half its height and width, rounded up, with part of its lamp's colour and exposure taken out.

        Height x width x 3, uint8, RGB; grey stays grey. As coarse as most JPEG files keep colours, and a quarter of the
        work.
        """
        height, width = self.rgb.shape[:2]
        half = cv2.resize(self.rgb, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
        sums = np.array(cv2.sumElems(cv2.LUT(half, _POWERS))[:3])
        light = (sums / (half.size // 3)) ** (1 / LIGHT_NORM) + 1
        gains = (light.mean() / light) ** LIGHT_SHARE * _brightness_gain(cv2.cvtColor(half, cv2.COLOR_RGB2GRAY))
        table = np.minimum(_LEVELS[:, np.newaxis, np.newaxis] * gains, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(half, table), np.uint8)

    @cached_property
    def ycrcb(self) -> NDArray[np.uint8]:
        """The relit image in JPEG's colours: luma, red and blue difference (around 128); as `relit`."""
        return np.asarray(cv2.cvtColor(self.relit, cv2.COLOR_RGB2YCrCb), np.uint8)

    @cached_property
    def planes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """The channels of `ycrcb`, each height x width."""
        luma, red, blue = cv2.split(self.ycrcb)
        return np.asarray(luma, np.uint8), np.asarray(red, np.uint8), np.asarray(blue, np.uint8)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How much every pixel of `relit` counts as fruit: colourful and central ones more. Height x width, above 0.

        Chroma (distance from grey in red and blue difference) plus 1, times a Gaussian around the centre. White, grey
        and black surroundings then hardly count; an image without any colour keeps the Gaussian.
        """
        _, red, blue = self.planes
        squares = cv2.LUT(red, _SQUARED_OFFSETS) + cv2.LUT(blue, _SQUARED_OFFSETS)  # whole numbers: exact everywhere
        return np.asarray((np.sqrt(squares) + 1) * _centrality(*red.shape), np.float64)

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


def _brightness_gain(grey: MatLike) -> float:
    """Find the factor that makes the brightest tenth of the pixels as bright as other images'."""
    below = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().cumsum()
    level = int(below.searchsorted(BRIGHT_SHARE * below[-1]))
    least, most = BRIGHT_GAINS
    return min(max(BRIGHT_LEVEL / max(1, level), least), most)


@lru_cache(maxsize=64)  # images come in few shapes; odd ones must not fill the memory
def _centrality(height: int, width: int) -> NDArray[np.float64]:
    """Make the Gaussian around the centre, with a standard deviation of `CENTRE_SPREAD` of each side."""
    rows, columns = (np.exp(-(((np.arange(n) + 0.5) / n - 0.5) ** 2) / (2 * CENTRE_SPREAD**2)) for n in (height, width))
    return np.outer(rows, columns)


@cache
def _orb() -> cv2.ORB:
    """Make the detector once a process: making one costs as much as using it."""
    return cv2.ORB.create(**ORB_PARAMETERS)
