"""Draw distinct photographs as phones take them: many pixels, soft detail at every scale, edges of fruit, and grain.

The grain determines the size of the file, and thereby most of the time to decode it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

QUALITY = 92
GRAIN = 2.0
"""Standard deviation of the noise in levels. A file then has 0.8 bits per pixel at 16 megapixels."""

_BLUR = 4
"""Pixels of the photograph per pixel of the drawn scene, in each direction: the softness of lens and demosaicing."""
_FRUITS = 60


def photograph(width: int, height: int, seed: int, grain: float = GRAIN) -> bytes:
    """Return a JPEG of a random scene. The same arguments give the same photograph.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        seed: Seed of the scene and its grain.
        grain: Standard deviation of the noise in levels of 0 to 255.
    """
    random = np.random.default_rng(seed)
    scene = _scene(max(1, width // _BLUR), max(1, height // _BLUR), random)
    sharp = cv2.resize(scene, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.setRNGSeed(seed)
    noise = cv2.randn(np.empty(sharp.shape, np.int16), np.zeros(3), np.full(3, grain))
    pixels = cv2.add(sharp, noise, dtype=cv2.CV_8U)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _scene(width: int, height: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return discs of fruit before a background. Both have a texture whose amplitude falls with its frequency."""
    texture = np.zeros((height, width, 3), np.float32)
    cells, amplitude = 2, 40.0
    while cells < min(width, height):
        coarse = random.normal(0, amplitude, (cells, cells, 3)).astype(np.float32)
        texture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cells, amplitude = 2 * cells, amplitude / 2
    scene = np.full((height, width, 3), 128, np.float32)
    for x, y, radius in random.uniform(0, 1, (_FRUITS, 3)) * (width, height, min(width, height) / 5):
        colour = random.uniform(30, 225, 3).tolist()
        cv2.circle(scene, (int(x), int(y)), max(1, int(radius)), colour, cv2.FILLED, cv2.LINE_AA)
    return np.asarray(np.clip(scene + texture, 0, 255), np.uint8)
