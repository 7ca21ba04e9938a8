"""Colour: joint histogram of the colours of the fruit, partly corrected for the illuminant.

Sources:

- Joint histogram: M. J. Swain, D. H. Ballard, "Color indexing", IJCV 7 (1991).
- Square root of the shares (Hellinger kernel): R. Arandjelovic, A. Zisserman, "Three things everyone should know to
  improve object retrieval", CVPR 2012.
- Higher weight of colourful pixels: J. van de Weijer, C. Schmid, "Coloring local feature extraction", ECCV 2006.
- Estimate of the illuminant (`NormalizedImage.relit`): G. D. Finlayson, E. Trezzi, "Shades of gray and colour
  constancy", CIC 12 (2004).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import WEIGHT_PARAMETERS, NormalizedImage

BINS = (3, 12, 12)
RANGES = ((0, 256), (90, 200), (30, 150))  # values outside count in the end bins
PARAMETERS = {
    "space": "YCrCb",
    "bins": BINS,
    "ranges": RANGES,
    **WEIGHT_PARAMETERS,
    "power": 0.5,
}
DIMENSION = int(np.prod(BINS))


def extract(image: NormalizedImage) -> NDArray[np.float32]:
    """Return the square root of each colour's share of the weight: 432 values in 0 to 1, float32. Squares add up to 1.

    >>> features = extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8)))
    >>> len(features), np.square(features).sum()
    (432, np.float32(1.0))
    """
    luma, red, blue = (cv2.LUT(plane, codes) for plane, codes in zip(image.planes, _CODES, strict=True))
    weight = np.bincount((luma + red + blue).ravel(), weights=image.weights.ravel(), minlength=DIMENSION)
    return np.asarray(np.sqrt(weight / weight.sum()), np.float32)


def _codes() -> list[NDArray[np.uint16]]:
    """Return a table per channel from value to its summand of the joint bin's number."""
    values = np.arange(256)
    steps = (BINS[1] * BINS[2], BINS[2], 1)
    return [
        (np.clip((values - low) * count // (high - low), 0, count - 1) * step).astype(np.uint16)
        for count, (low, high), step in zip(BINS, RANGES, steps, strict=True)
    ]


_CODES = _codes()
