"""Colour: what colours the fruit has, under a lamp that is partly evened out.

A joint histogram as in M. J. Swain, D. H. Ballard, "Color indexing", IJCV 7 (1991), with the square root of the shares
(Hellinger's kernel) as in R. Arandjelovic, A. Zisserman, "Three things everyone should know to improve object
retrieval", CVPR 2012. That colourful pixels say more about a hue: J. van de Weijer, C. Schmid, "Coloring local feature
extraction", ECCV 2006. How the lamp is estimated (`View.relit`): G. D. Finlayson, E. Trezzi, "Shades of gray and colour
constancy", CIC 12 (2004).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import WEIGHT_PARAMETERS, NormalizedImage

BINS = (3, 12, 12)
RANGES = ((0, 256), (90, 200), (30, 150))  # what lies outside goes to the end bins
PARAMETERS = {
    "space": "YCrCb",
    "bins": BINS,
    "ranges": RANGES,
    **WEIGHT_PARAMETERS,
    "power": 0.5,
}
DIMENSION = int(np.prod(BINS))


def extract(view: NormalizedImage) -> NDArray[np.float32]:
    """Take the square root of every colour's share of the image's weight; the squares add up to 1.

    >>> features = extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8)))
    >>> len(features), np.square(features).sum()
    (432, np.float32(1.0))
    """
    luma, red, blue = (cv2.LUT(plane, codes) for plane, codes in zip(view.planes, _CODES, strict=True))
    weight = np.bincount((luma + red + blue).ravel(), weights=view.weights.ravel(), minlength=DIMENSION)
    return np.asarray(np.sqrt(weight / weight.sum()), np.float32)


def _codes() -> list[NDArray[np.uint16]]:
    """Make each channel's table from value to its part of the joint bin's number; the three parts add up to it."""
    values = np.arange(256)
    steps = (BINS[1] * BINS[2], BINS[2], 1)
    return [
        (np.clip((values - low) * count // (high - low), 0, count - 1) * step).astype(np.uint16)
        for count, (low, high), step in zip(BINS, RANGES, steps, strict=True)
    ]


_CODES = _codes()
