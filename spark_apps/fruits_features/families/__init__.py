"""The feature families: what an image can be described by.

A family is one module of this package with a function `describe(view)` and one line in `FAMILIES` below. This module
itself is standard library only, so that command lines and DAGs know names and dimensions without loading OpenCV.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What is known of a family without running it.

    Args:
        name: its name on the command line, and its module's name in this package.
        dimension: how many numbers it gives for every image.
    """

    name: str
    dimension: int


FAMILIES = {
    family.name: family
    for family in (
        Family("orb", dimension=256),
        Family("color", dimension=512),
        Family("pixels", dimension=3072),
    )
}
DEFAULT_FAMILIES = ("orb", "color")


def total_dimension(names: Sequence[str]) -> int:
    """Add up the families' dimensions: the length of the column `features`.

    >>> total_dimension(["orb", "color"])
    768
    """
    return sum(FAMILIES[name].dimension for name in names)
