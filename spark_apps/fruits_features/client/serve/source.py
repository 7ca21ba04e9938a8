"""The published run as the service needs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fruits_features.projection import Projection


MAX_PICTURE_BYTES = 16 * 2**20
"""Largest training image that is fetched for its picture, in bytes."""


class Neighbour(Protocol):
    """A training image that resembles a photo."""

    @property
    def path(self) -> str:
        """Address of the image: `s3://<bucket>/<key>`."""

    @property
    def category(self) -> str:
        """Category of the image."""

    @property
    def cosine(self) -> float:
        """Cosine of the components of both images."""


class Recogniser(Protocol):
    """Computes the probability of each category from the components of a photo."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories."""

    def recognise(self, components: "NDArray[np.float32]", top: int | None = None) -> list[tuple[str, float]]:
        """Return the categories with their probabilities, the most probable first."""


class Run(Protocol):
    """A published run."""

    @property
    def run(self) -> str:
        """Name of the run."""

    @property
    def projection(self) -> "Projection":
        """Projection of the run."""

    @property
    def recogniser(self) -> Recogniser:
        """Recogniser of the run."""

    def nearest_to(self, components: "NDArray[np.float32]", k: int) -> Sequence[Neighbour]:
        """Return the k training images with the largest cosine of the components, the largest first."""


@dataclass(frozen=True)
class Source:
    """Place of the published run.

    Args:
        pointer: Function that returns the content of `latest.json`.
        open: Function that opens the run of this content.
        fetch: Function that returns the content of a training image by its path; `None` if it does not exist or is too
            large. Several threads call it.
    """

    pointer: Callable[[], Mapping[str, Any]]
    open: Callable[[Mapping[str, Any]], Run]
    fetch: Callable[[str], bytes | None]
