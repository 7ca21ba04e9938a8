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
        dimension: how many numbers it gives for every image; `None` where that is told by a model given at run time.
        weight: the standard deviation that the whole family is scaled to before the reduction; see docs/reference/features.md.
    """

    name: str
    dimension: int | None
    weight: float = 1.0


FAMILIES = {
    family.name: family
    for family in (
        Family("orb", dimension=256, weight=0.25),
        Family("color", dimension=432),
        Family("texture", dimension=30),
        Family("contrast", dimension=125),
        Family("pixels", dimension=3072),
        Family("onnx", dimension=None),
    )
}
MODEL_FAMILY = "onnx"
"""The one that needs a model."""
DEFAULT_FAMILIES = ("orb", "color", "texture", "contrast")


def total_dimension(names: Sequence[str], of_model: int = 0) -> int:
    """Add up the families' dimensions: the length of the column `features`.

    Args:
        names: of the families.
        of_model: how many numbers the model gives, where one is used.

    >>> total_dimension(["orb", "color"])
    688
    """
    dimensions = (FAMILIES[name].dimension for name in names)
    return sum(of_model if dimension is None else dimension for dimension in dimensions)


def dimensions(names: Sequence[str], total: int) -> list[int]:
    """Tell how many of all features each family has: what the others leave is the model's.

    >>> dimensions(["orb", "onnx", "texture"], 1300)
    [256, 1014, 30]
    """
    of_model = total - total_dimension(names)
    return [total_dimension([name], of_model) for name in names]
