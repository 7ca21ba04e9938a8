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
        weight: the standard deviation that the whole family is scaled to before the reduction; see docs/features.md.
    """

    name: str
    dimension: int
    weight: float = 1.0


FAMILIES = {
    family.name: family
    for family in (
        Family("orb", dimension=256, weight=0.25),
        Family("color", dimension=432),
        Family("texture", dimension=20, weight=0.5),
        Family("pixels", dimension=3072),
    )
}
DEFAULT_FAMILIES = ("orb", "color", "texture")


def total_dimension(names: Sequence[str]) -> int:
    """Add up the families' dimensions: the length of the column `features`.

    >>> total_dimension(["orb", "color"])
    688
    """
    return sum(FAMILIES[name].dimension for name in names)
