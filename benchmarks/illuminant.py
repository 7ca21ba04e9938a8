"""The same photograph as another phone might have taken it in another shop: other lamp, exposure, contrast, distance.

A stand-in for the shops that no photograph was taken in. What it changes, and how much, is a guess.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

GAMMA = 2.2
LAMP = (0.12, 0.05, 0.12)
"""Standard deviations of the logarithms of the gains of red, green and blue."""

EXPOSURE, CONTRAST, SATURATION = 0.2, 0.12, 0.12  # the same, of the other changes
NEAREST = 0.6
"""The smallest share of either side that is kept."""


def rephotograph(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Change the light, take a part, and mirror every other image; height x width x 3, RGB."""
    gains = np.exp(random.normal(0, LAMP)) * np.exp(random.normal(0, EXPOSURE))
    light = np.clip((pixels / 255) ** GAMMA * gains, 0, 1)
    encoded = light ** (np.exp(random.normal(0, CONTRAST)) / GAMMA)
    grey = encoded.mean(axis=2, keepdims=True)
    changed = np.clip(grey + (encoded - grey) * np.exp(random.normal(0, SATURATION)), 0, 1)
    part = _part((changed * 255).round().astype(np.uint8), random)
    return np.asarray(cv2.flip(part, 1) if random.random() < 0.5 else part, np.uint8)  # noqa: PLR2004


def _part(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Cut out a part with the image's proportions, anywhere."""
    share = random.uniform(NEAREST, 1)
    height, width = (int(side * share) for side in pixels.shape[:2])
    top, left = random.integers(0, [pixels.shape[0] - height + 1, pixels.shape[1] - width + 1])
    return pixels[top : top + height, left : left + width]
