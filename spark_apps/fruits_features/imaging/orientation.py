"""Turns a decoded image upright."""

import numpy as np
from numpy.typing import NDArray

_TURNS = {  # by EXIF orientation: whether to swap rows and columns, then the axes to reverse
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}


def upright(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return height and width of the upright image, given those of the stored one and its EXIF orientation.

    >>> upright(3024, 4032, orientation=6)
    (4032, 3024)
    """
    swapped, _ = _TURNS.get(orientation, (False, ()))
    return (width, height) if swapped else (height, width)


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return the upright image, given its EXIF orientation, 1 to 8.

    >>> turn(np.arange(3, dtype=np.uint8).reshape(1, 3, 1), 6).tolist()
    [[[0]], [[1]], [[2]]]
    """
    if orientation == 1:
        return pixels
    swapped, axes = _TURNS[orientation]
    return np.ascontiguousarray(np.flip(pixels.swapaxes(0, 1) if swapped else pixels, axes))
