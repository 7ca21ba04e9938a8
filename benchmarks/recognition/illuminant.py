"""Simulate a photo of the same scene with another phone in another shop: illuminant, exposure, contrast and distance.

It replaces photos from other shops. The kind and the size of the changes are assumptions.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

GAMMA = 2.2
ILLUMINANT = (0.12, 0.05, 0.12)
"""Standard deviations of the logarithms of the gains of red, green and blue."""

EXPOSURE, CONTRAST, SATURATION = 0.2, 0.12, 0.12
"""Standard deviations of the logarithms of the other factors."""
MIN_CROP = 0.6
"""Smallest share of width and height that a crop keeps."""


def rephotograph(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image with changed light, cropped, and mirrored with a probability of one half.

    Args:
        pixels: RGB image, shape (height, width, 3), uint8.
        random: Random generator.
    """
    gains = np.exp(random.normal(0, ILLUMINANT)) * np.exp(random.normal(0, EXPOSURE))
    light = np.clip((pixels / 255) ** GAMMA * gains, 0, 1)
    encoded = light ** (np.exp(random.normal(0, CONTRAST)) / GAMMA)
    grey = encoded.mean(axis=2, keepdims=True)
    changed = np.clip(grey + (encoded - grey) * np.exp(random.normal(0, SATURATION)), 0, 1)
    part = _crop((changed * 255).round().astype(np.uint8), random)
    return np.asarray(cv2.flip(part, 1) if random.random() < 0.5 else part, np.uint8)  # noqa: PLR2004


def _crop(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a random crop with the proportions of the image."""
    share = random.uniform(MIN_CROP, 1)
    height, width = (int(side * share) for side in pixels.shape[:2])
    top, left = random.integers(0, [pixels.shape[0] - height + 1, pixels.shape[1] - width + 1])
    return pixels[top : top + height, left : left + width]
