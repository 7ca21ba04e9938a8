"""Normalizes a decoded image and computes once what several families share.

The families are tuned for the 100 x 100 pixels of Fruits-360. Larger images are scaled down to fit into that square and
keep their proportions. Smaller images are not scaled.
"""

from functools import cache, cached_property, lru_cache

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

SIDE = 100
"""Side in pixels of the square that every normalized image fits into."""

ORB_PARAMETERS = {"nfeatures": 50, "nlevels": 1, "edgeThreshold": 5, "fastThreshold": 10}
"""Parameters of OpenCV's ORB for 100-pixel images.

OpenCV's default thresholds leave photographs of this size without keypoints. More keypoints or levels cost time without
better features; see docs/measurements/constants.md.
"""

DESCRIPTOR_BYTES = 32

CENTRE_SPREAD = 0.4
"""Standard deviation of the Gaussian around the image's centre, as a share of each side."""

LIGHT_NORM = 3
"""Minkowski norm of the illuminant estimate. 1 is the mean (grey world), infinity the brightest pixel."""

LIGHT_SHARE = 0.4
"""Share of the illuminant's colour that is removed. Removing all of it would also remove the fruit's own colour."""

BRIGHT_SHARE, BRIGHT_LEVEL, BRIGHT_GAINS = 0.9, 200, (0.7, 1.6)
"""Exposure correction: the grey level at this quantile is scaled to this level, by a factor within these limits."""

WEIGHT_PARAMETERS = {
    "image": "half the sides, by area",
    "weights": "chroma + 1, centre",
    "spread": CENTRE_SPREAD,
    "light": {"norm": LIGHT_NORM, "share": LIGHT_SHARE},
    "brightness": {"share": BRIGHT_SHARE, "level": BRIGHT_LEVEL, "gains": BRIGHT_GAINS},
}
"""Parameters of the families that use the relit image or the weights. Stored in `projection.npz`."""

_LEVELS = np.arange(256, dtype=np.float64)
_POWERS = (_LEVELS**LIGHT_NORM).astype(np.float32)  # integers below 2**24: exact in any order of addition
_SQUARED_OFFSETS = np.square(np.arange(256, dtype=np.float32) - 128)


class NormalizedImage:
    """An image, normalized for the families.

    Args:
        pixels: Decoded image, height x width x 3, uint8, RGB.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.rgb = fit(pixels)

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """Grey image, height x width, uint8."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), np.uint8)

    @cached_property
    def relit(self) -> NDArray[np.uint8]:
        """Image with half the height and width, rounded up, corrected for illuminant and exposure.

        Height x width x 3, uint8, RGB. Grey stays grey. Half the resolution is that of the colours in most JPEG files,
        and takes a quarter of the time.
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
        """The relit image in YCrCb, height x width x 3, uint8. Differences are centred at 128."""
        return np.asarray(cv2.cvtColor(self.relit, cv2.COLOR_RGB2YCrCb), np.uint8)

    @cached_property
    def planes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Channels of `ycrcb`: luma, red difference and blue difference, each height x width, uint8."""
        luma, red, blue = cv2.split(self.ycrcb)
        return np.asarray(luma, np.uint8), np.asarray(red, np.uint8), np.asarray(blue, np.uint8)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Weight of each pixel of `relit`, higher for colourful and central ones. Height x width, float64, above 0.

        The weight is the chroma (distance from grey in red and blue difference) plus 1, times a Gaussian around the
        centre. White, grey and black backgrounds get little weight. Images without colour get the Gaussian.
        """
        _, red, blue = self.planes
        squares = cv2.LUT(red, _SQUARED_OFFSETS) + cv2.LUT(blue, _SQUARED_OFFSETS)  # integers: exact on every machine
        return np.asarray((np.sqrt(squares) + 1) * _centrality(*red.shape), np.float64)

    @cached_property
    def descriptors(self) -> NDArray[np.uint8]:
        """ORB descriptors, keypoints x 32, uint8. No row if the image has no keypoint."""
        # Then no pixel is inside the border, and OpenCV fails on tiny images.
        if min(self.grey.shape) <= 2 * ORB_PARAMETERS["edgeThreshold"]:
            return np.zeros((0, DESCRIPTOR_BYTES), np.uint8)
        _, descriptors = _orb().detectAndCompute(self.grey, None)
        if descriptors is None:
            return np.zeros((0, DESCRIPTOR_BYTES), np.uint8)
        return np.asarray(descriptors, np.uint8)


def fit(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale an image down to fit into the square. Return a smaller image unchanged.

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
    """Return the factor that scales the quantile `BRIGHT_SHARE` of the grey levels to `BRIGHT_LEVEL`, within limits."""
    cumulated = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().cumsum()
    level = int(cumulated.searchsorted(BRIGHT_SHARE * cumulated[-1]))
    min_gain, max_gain = BRIGHT_GAINS
    return min(max(BRIGHT_LEVEL / max(1, level), min_gain), max_gain)


@lru_cache(maxsize=64)  # most images have one of few shapes; the limit bounds the memory
def _centrality(height: int, width: int) -> NDArray[np.float64]:
    """Return a Gaussian around the centre, with a standard deviation of `CENTRE_SPREAD` of each side."""
    rows, columns = (np.exp(-(((np.arange(n) + 0.5) / n - 0.5) ** 2) / (2 * CENTRE_SPREAD**2)) for n in (height, width))
    return np.outer(rows, columns)


@cache
def _orb() -> cv2.ORB:
    """Create the detector once per process. Creating it takes as long as using it."""
    return cv2.ORB.create(**ORB_PARAMETERS)
