"""Texture: how the surface of the fruit is patterned, from netted melons to smooth apples, whatever its colour.

Rotation-invariant uniform local binary patterns at two radii: T. Ojala, M. Pietikainen, T. Maenpaa, "Multiresolution
gray-scale and rotation invariant texture classification with local binary patterns", PAMI 24 (2002). Neighbours lie at
whole pixels instead of interpolated ones, and pixels count by their weight as in `color`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.views import WEIGHT_PARAMETERS, View

RADII = (2, 4)
PATTERNS = 10
PARAMETERS = {
    "patterns": "rotation-invariant uniform, 8 neighbours at whole pixels",
    "radii": RADII,
    **WEIGHT_PARAMETERS,
    "power": 0.5,
}
DIMENSION = PATTERNS * len(RADII)


def describe(view: View) -> NDArray[np.float32]:
    """Count the patterns: 10 square roots of shares for each radius; the squares of each ten add up to 1.

    Values 0 to 8 of a ten: neighbours at least as light as their centre (0 a light spot, 8 a dark spot or flat, 4 an
    edge); value 9: no uniform pattern.

    >>> describe(View(np.full((100, 100, 3), 255, np.uint8)))[:10].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    """
    margin = max(RADII)
    framed = cv2.copyMakeBorder(view.grey, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    grey = np.asarray(framed, np.uint8)
    framed = cv2.copyMakeBorder(view.weights, 0, 0, margin, margin, cv2.BORDER_CONSTANT, value=0)
    weights = np.asarray(framed, np.float64)
    return np.concatenate([_shares(_binary_patterns(grey, radius, margin), weights.ravel()) for radius in RADII])


def _binary_patterns(grey: NDArray[np.uint8], radius: int, margin: int) -> NDArray[np.uint8]:
    """Tell for every pixel which of its 8 neighbours are at least as light: one bit each.

    Works on the flattened image, where a neighbour is a constant shift: three times as fast as on its rows.

    Args:
        grey: (height + 2 margins) x (width + 2 margins).
        radius: at most the margin.
        margin: in pixels.

    Returns:
        height x (width + 2 margins) patterns, flat; those in the margins mean nothing.
    """
    flat, width = grey.ravel(), grey.shape[1]
    start, stop = margin * width, flat.size - margin * width
    centre = flat[start:stop]
    patterns = np.zeros(centre.shape, np.uint8)
    for down, right in _neighbours(radius):
        shift = down * width + right
        neighbour = flat[start + shift : stop + shift]
        patterns += patterns
        patterns |= (neighbour >= centre).view(np.uint8)
    return patterns


def _neighbours(radius: int) -> list[tuple[int, int]]:
    """Place 8 neighbours around a pixel, clockwise from above, as (rows down, columns right).

    >>> _neighbours(4)
    [(-4, 0), (-3, 3), (0, 4), (3, 3), (4, 0), (3, -3), (0, -4), (-3, -3)]
    """
    slant = round(radius * np.sqrt(0.5))
    first = [(-radius, 0), (-slant, slant), (0, radius), (slant, slant)]
    return first + [(-down, -right) for down, right in first]


def _shares(patterns: NDArray[np.uint8], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Take the square root of every class of patterns' share of the weight."""
    by_pattern = np.bincount(patterns.ravel(), weights=weights, minlength=256)
    by_class = np.bincount(_CLASSES, weights=by_pattern, minlength=PATTERNS)
    return np.asarray(np.sqrt(by_class / by_class.sum()), np.float32)


def _class_of(pattern: int) -> int:
    """Tell a pattern's class: its set bits when at most two neighbours differ from the next one around, else 9.

    >>> _class_of(0b00000000), _class_of(0b11100001), _class_of(0b01010101)
    (0, 4, 9)
    """
    turned = (pattern >> 1) | ((pattern & 1) << 7)
    changes = (pattern ^ turned).bit_count()
    return pattern.bit_count() if changes <= 2 else PATTERNS - 1  # noqa: PLR2004


_CLASSES = np.array([_class_of(pattern) for pattern in range(256)])
