"""Texture: rotation-invariant uniform local binary patterns of each colour channel.

Sources:

- Patterns: T. Ojala, M. Pietikainen, T. Maenpaa, "Multiresolution gray-scale and rotation invariant texture
  classification with local binary patterns", PAMI 24 (2002).
- Patterns of colour channels: T. Maenpaa, M. Pietikainen, "Classification with color and texture: jointly or
  separately?", Pattern Recognition 37 (2004).

Unlike in these sources, neighbours are at integer positions, without interpolation. Pixels are weighted as in `color`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import WEIGHT_PARAMETERS, NormalizedImage

CHANNELS = ("luma", "red difference", "blue difference")
NEIGHBOURS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Offsets of the neighbours as (rows down, columns right), clockwise from above, in pixels of the relit image."""

STEP = 2
"""Smallest difference in levels from which a neighbour counts as larger. One level is rounding on smooth surfaces."""

PATTERNS = 10
PARAMETERS = {
    "patterns": "rotation-invariant uniform, 8 neighbours at whole pixels",
    "channels": CHANNELS,
    "radius": 1,
    "step": STEP,
    **WEIGHT_PARAMETERS,
    "power": 0.5,
}
DIMENSION = PATTERNS * len(CHANNELS)


def extract(image: NormalizedImage) -> NDArray[np.float32]:
    """Return the square root of each pattern's share of the weight: 10 values in 0 to 1 per channel, float32.

    Values 0 to 8 are the uniform patterns by the number of larger neighbours: 0 for a light spot or a flat surface, 4
    for an edge, 8 for a dark spot. Value 9 is for all other patterns. The squares of a channel's values add up to 1.

    >>> extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8)))[:10].tolist()
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    framed = np.asarray(cv2.copyMakeBorder(image.ycrcb, 2, 2, 1, 1, cv2.BORDER_REPLICATE), np.uint8)
    weights = cv2.copyMakeBorder(image.weights, 0, 0, 1, 1, cv2.BORDER_CONSTANT, value=0)
    channel_weights = np.asarray(cv2.merge([weights] * len(CHANNELS)), np.float64).ravel()
    return _shares(_binary_patterns(framed), channel_weights)


def _binary_patterns(framed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return for each pixel and channel which of the 8 neighbours are larger, one bit each.

    Works on the flattened image, where each neighbour is a constant shift, which is faster than working on rows.

    Args:
        framed: Image with a border of 2 rows and 1 column, (height + 4) x (width + 2) x channels, uint8. The outer rows
            are neighbours of the border's corners.

    Returns:
        (height * (width + 2)) x 1 x channels, uint8. The values of the border's columns are meaningless.
    """
    _, width, channels = framed.shape
    flat, start = framed.ravel(), 2 * width * channels
    thresholds = np.minimum(flat[start:-start], 256 - STEP) + np.uint8(STEP - 1)  # at most 255
    patterns = np.zeros(thresholds.shape, np.uint8)
    for down, right in NEIGHBOURS:
        first = start + (down * width + right) * channels
        patterns += patterns
        patterns |= (flat[first : first + thresholds.size] > thresholds).view(np.uint8)
    return patterns.reshape(-1, 1, channels)


def _shares(patterns: NDArray[np.uint8], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the square root of each class's share of its channel's weight."""
    classes = cv2.LUT(patterns, _CLASSES).ravel()
    by_class = np.bincount(classes, weights=weights, minlength=PATTERNS * len(CHANNELS)).reshape(-1, PATTERNS)
    return np.asarray(np.sqrt(by_class / by_class.sum(axis=1, keepdims=True)), np.float32).ravel()


def _class_of(pattern: int) -> int:
    """Return the class of a pattern: its number of set bits if it is uniform, else 9.

    A pattern is uniform if at most two neighbours differ from the next one around the centre.

    >>> _class_of(0b00000000), _class_of(0b11100001), _class_of(0b01010101)
    (0, 4, 9)
    """
    rotated = (pattern >> 1) | ((pattern & 1) << 7)
    changes = (pattern ^ rotated).bit_count()
    return pattern.bit_count() if changes <= 2 else PATTERNS - 1  # noqa: PLR2004 - of a uniform pattern


def _classes() -> NDArray[np.uint8]:
    """Return the tables from pattern to class, 256 x 1 x channels. Each channel has separate classes."""
    classes = np.array([_class_of(pattern) for pattern in range(256)])
    by_channel = classes[:, np.newaxis, np.newaxis] + PATTERNS * np.arange(len(CHANNELS))
    return np.asarray(by_channel, np.uint8)


_CLASSES = _classes()
