"""Texture: how the surface of the fruit is patterned, from netted melons to smooth apples, in light and in colour.

Rotation-invariant uniform local binary patterns: T. Ojala, M. Pietikainen, T. Maenpaa, "Multiresolution
gray-scale and rotation invariant texture classification with local binary patterns", PAMI 24 (2002); of colours: T.
Maenpaa, M. Pietikainen, "Classification with color and texture: jointly or separately?", Pattern Recognition 37 (2004).
Neighbours lie at whole pixels instead of interpolated ones, and pixels count by their weight as in `color`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.imaging.normalize import WEIGHT_PARAMETERS, NormalizedImage

CHANNELS = ("luma", "red difference", "blue difference")
NEIGHBOURS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Rows down and columns right, clockwise from above, in pixels of the relit image."""

STEP = 2
"""A neighbour counts as larger from this many levels on: surfaces are smooth, and one level is rounding."""

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


def extract(view: NormalizedImage) -> NDArray[np.float32]:
    """Count the patterns: for each channel, 10 square roots of shares; the squares of each ten add up to 1.

    Values 0 to 8 of a ten: neighbours larger than their centre (0 a light spot or flat, 8 a dark spot, 4 an edge);
    value 9: no uniform pattern.

    >>> extract(NormalizedImage(np.full((100, 100, 3), 255, np.uint8)))[:10].tolist()
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    framed = np.asarray(cv2.copyMakeBorder(view.ycrcb, 2, 2, 1, 1, cv2.BORDER_REPLICATE), np.uint8)
    weights = cv2.copyMakeBorder(view.weights, 0, 0, 1, 1, cv2.BORDER_CONSTANT, value=0)
    of_channels = np.asarray(cv2.merge([weights] * len(CHANNELS)), np.float64).ravel()
    return _shares(_binary_patterns(framed), of_channels)


def _binary_patterns(framed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tell for every pixel and channel which of its 8 neighbours are larger: one bit each.

    Works on the flattened image, where a neighbour is a constant shift: three times as fast as on its rows.

    Args:
        framed: (height + 4) x (width + 2) x channels: the image in a frame, whose outer rows are for its own corners.

    Returns:
        height (width + 2) x 1 x channels; those of the frame's columns mean nothing.
    """
    _, width, channels = framed.shape
    flat, start = framed.ravel(), 2 * width * channels
    as_large = np.minimum(flat[start:-start], 256 - STEP) + np.uint8(STEP - 1)  # no neighbour passes 255
    patterns = np.zeros(as_large.shape, np.uint8)
    for down, right in NEIGHBOURS:
        first = start + (down * width + right) * channels
        patterns += patterns
        patterns |= (flat[first : first + as_large.size] > as_large).view(np.uint8)
    return patterns.reshape(-1, 1, channels)


def _shares(patterns: NDArray[np.uint8], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Take the square root of every class of patterns' share of its channel's weight."""
    classes = cv2.LUT(patterns, _CLASSES).ravel()
    by_class = np.bincount(classes, weights=weights, minlength=PATTERNS * len(CHANNELS)).reshape(-1, PATTERNS)
    return np.asarray(np.sqrt(by_class / by_class.sum(axis=1, keepdims=True)), np.float32).ravel()


def _class_of(pattern: int) -> int:
    """Tell a pattern's class: its set bits when at most two neighbours differ from the next one around, else 9.

    >>> _class_of(0b00000000), _class_of(0b11100001), _class_of(0b01010101)
    (0, 4, 9)
    """
    turned = (pattern >> 1) | ((pattern & 1) << 7)
    changes = (pattern ^ turned).bit_count()
    return pattern.bit_count() if changes <= 2 else PATTERNS - 1  # noqa: PLR2004


def _classes() -> NDArray[np.uint8]:
    """Make each channel's table from pattern to class; every channel has classes of its own."""
    of_one = np.array([_class_of(pattern) for pattern in range(256)])
    of_each = of_one[:, np.newaxis, np.newaxis] + PATTERNS * np.arange(len(CHANNELS))
    return np.asarray(of_each, np.uint8)


_CLASSES = _classes()
