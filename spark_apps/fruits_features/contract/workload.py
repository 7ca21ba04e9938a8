"""Constants that size a run's tasks and its cluster."""

from collections.abc import Iterable

from fruits_features.contract.families import MODEL_FAMILY

IMAGE_OVERHEAD_BYTES = 40_000
"""Fixed cost of an image, in bytes that take as long to fetch and decode; see docs/measurements/constants.md."""

EMBEDDING_BYTES = 430_000
"""Cost of embedding an image with the network that ships, in the same unit; see docs/measurements/constants.md."""

IMAGES_PER_PARTITION = 12_000
"""Approximate number of images per task. A task takes some seconds on one core.

Larger tasks leave cores idle at the end of a stage, and cost more when one is lost. Smaller tasks waste the time that
Spark needs to start each one; see docs/measurements/constants.md.
"""


def image_overhead_bytes(families: Iterable[str]) -> int:
    """Return the cost of an image besides its size, in bytes that take as long to fetch and decode.

    Args:
        families: Names of the families.

    >>> image_overhead_bytes(["orb", "color"]), image_overhead_bytes(["orb", "onnx"])
    (40000, 470000)
    """
    return IMAGE_OVERHEAD_BYTES + (EMBEDDING_BYTES if MODEL_FAMILY in families else 0)
