"""Names, dimensions and weights of the feature families.

A family is one module in `extraction/families` with a function `extract(image)`, and one entry in `FAMILIES`. This
module uses the standard library only, so that the DAG knows the families without loading OpenCV.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A feature family.

    Args:
        name: Name on the command line, and of the module in `extraction/families`.
        dimension: Number of features per image; `None` if the model determines it.
        weight: Standard deviation that the family is scaled to before the PCA; see docs/reference/features.md.
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
        Family("onnx", dimension=None, weight=2),
    )
}
MODEL_FAMILY = "onnx"
"""Name of the family that needs a model."""
DEFAULT_FAMILIES = ("orb", "color", "texture", "contrast")


def total_dimension(names: Sequence[str], model_dimension: int = 0) -> int:
    """Return the number of features of some families together: the length of the column `features`.

    Args:
        names: Names of the families.
        model_dimension: Number of values per image in the model's output; 0 without a model.

    >>> total_dimension(["orb", "color"])
    688
    """
    dimensions = (FAMILIES[name].dimension for name in names)
    return sum(model_dimension if dimension is None else dimension for dimension in dimensions)


def dimensions(names: Sequence[str], total: int) -> list[int]:
    """Return the number of features of each family. The model's family has those that the others leave.

    Args:
        names: Names of the families.
        total: Number of features of all families together.

    >>> dimensions(["orb", "onnx", "texture"], 1300)
    [256, 1014, 30]
    """
    model_dimension = total - total_dimension(names)
    return [total_dimension([name], model_dimension) for name in names]
