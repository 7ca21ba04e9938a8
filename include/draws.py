"""Pseudo-random numbers of images and files, computed from their names: the same on every machine, in any order."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

_MIX = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio, which spreads similar values (Knuth, "The Art of Computer Programming", 6.4)."""


def numbers(paths: pa.Array, seed: int = 0) -> NDArray[np.uint64]:
    """Return a 64-bit number for each path."""
    sums = np.fromiter((crc32(path.encode(), seed) for path in paths.to_pylist()), np.uint64, len(paths))
    return np.asarray(sums * _MIX)


def draw(paths: pa.Array, seed: int = 0) -> NDArray[np.float64]:
    """Return a number from 0 to 1 for each path.

    >>> import pyarrow as pa
    >>> draw(pa.array(["s3://fruits/a.png", "s3://fruits/b.png"])).round(3).tolist()
    [0.983, 0.296]
    """
    return numbers(paths, seed).astype(np.float64) / 2.0**64


def choose(names: Iterable[str], count: int, seed: str) -> Sequence[str]:
    """Return a random sample of names, sorted.

    Args:
        names: Names.
        count: Largest number of names in the sample.
        seed: Seed of the sample.

    >>> choose(["a", "b", "c"], 5, "run")
    ['a', 'b', 'c']
    """
    return sorted(sorted(names, key=lambda name: sha256(f"{seed}\0{name}".encode()).digest())[:count])
