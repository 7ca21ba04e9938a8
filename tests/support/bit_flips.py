"""Flips single bits at seeded random places."""

from collections.abc import Iterator

import numpy as np


def flip_bits(data: bytes, flips: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield copies of some bytes with one bit changed, and the place of that bit."""
    for place in np.random.default_rng(seed).integers(0, 8 * len(data), flips).tolist():
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        yield f"bit {place % 8} of byte {place // 8} of {len(data)}", bytes(flipped)
