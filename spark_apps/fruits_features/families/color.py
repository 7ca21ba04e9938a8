"""Colour: what colours the fruit has (YCrCb, weighted towards the fruit) and what colours the picture has (HSV).

Joint histograms as in M. J. Swain, D. H. Ballard, "Color indexing", IJCV 7 (1991), with the square root of the shares
(Hellinger's kernel) as in R. Arandjelovic, A. Zisserman, "Three things everyone should know to improve object
retrieval", CVPR 2012. That colourful pixels say more about a hue: J. van de Weijer, C. Schmid, "Coloring local feature
extraction", ECCV 2006.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.views import CENTRE_SPREAD, View

YCRCB_BINS = (3, 12, 12)
YCRCB_RANGES = ((0, 256), (90, 200), (30, 150))  # what lies outside goes to the end bins
HSV_BINS = (16, 4, 4)
HSV_RANGES = ((0, 180), (0, 256), (0, 256))  # OpenCV's 8-bit hue is degrees halved
PARAMETERS = {
    "ycrcb": {"bins": YCRCB_BINS, "ranges": YCRCB_RANGES, "weights": "chroma + 1, centre", "spread": CENTRE_SPREAD},
    "hsv": {"bins": HSV_BINS, "ranges": HSV_RANGES},
    "power": 0.5,
}
DIMENSION = int(np.prod(YCRCB_BINS) + np.prod(HSV_BINS))


def describe(view: View) -> NDArray[np.float32]:
    """Count the colours twice: 432 values from YCrCb, then 256 from HSV; the squares of each part add up to 1.

    >>> features = describe(View(np.full((100, 100, 3), 255, np.uint8)))
    >>> np.square(features[:432]).sum().round(6), np.square(features[432:]).sum().round(6)
    (np.float32(1.0), np.float32(1.0))
    """
    return np.asarray(np.sqrt(np.concatenate([_ycrcb_shares(view), _hsv_shares(view)])), np.float32)


def _ycrcb_shares(view: View) -> NDArray[np.float32]:
    """Share of the image's weight in every bin of luma, red and blue difference."""
    luma, red, blue = (cv2.LUT(plane, codes) for plane, codes in zip(view.ycrcb, _YCRCB_CODES, strict=True))
    weight = np.bincount((luma + red + blue).ravel(), weights=view.weights.ravel(), minlength=_YCRCB_SIZE)
    return np.asarray(weight / weight.sum(), np.float32)


def _hsv_shares(view: View) -> NDArray[np.float32]:
    """Share of the pixels in every bin of hue, saturation and value."""
    hsv = cv2.cvtColor(view.rgb, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, HSV_BINS, np.ravel(HSV_RANGES).tolist())
    return np.asarray(counts.ravel() / (hsv.shape[0] * hsv.shape[1]), np.float32)


def _ycrcb_codes() -> list[NDArray[np.uint16]]:
    """Make each channel's table from value to its part of the joint bin's number; the three parts add up to it."""
    values = np.arange(256)
    steps = (YCRCB_BINS[1] * YCRCB_BINS[2], YCRCB_BINS[2], 1)
    return [
        (np.clip((values - low) * count // (high - low), 0, count - 1) * step).astype(np.uint16)
        for count, (low, high), step in zip(YCRCB_BINS, YCRCB_RANGES, steps, strict=True)
    ]


_YCRCB_CODES = _ycrcb_codes()
_YCRCB_SIZE = int(np.prod(YCRCB_BINS))
