"""A published run in memory, and the application that serves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fruits_features.client.serve import recognition
from fruits_features.client.serve.source import Source
from fruits_features.contract.families import total_dimension
from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.imaging.thumbnail import thumbnail
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Recogniser

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAMILIES = ("color",)
K = 3


@dataclass(frozen=True)
class Near:
    path: str
    category: str
    cosine: float


def small_projection() -> Projection:
    """Return a projection on the first numbers of the family `color`."""
    width = total_dimension(FAMILIES)
    return Projection(FAMILIES, np.zeros(width), np.ones(width), np.eye(width, K), np.full(K, 0.3))


@dataclass
class MemoryRun:
    """A run whose recogniser and neighbours do not depend on the photo."""

    run: str = "first"
    projection: Projection = field(default_factory=small_projection)
    recogniser: Recogniser = field(
        default_factory=lambda: Recogniser(
            ("Apple", "Lime", "Plum"), np.zeros((K, 3)), np.log([0.2, 0.7, 0.1]), "p", (4, 4, 4), 1.0, 1.0
        )
    )

    def nearest_to(self, components: NDArray[np.float32], k: int) -> list[Near]:
        assert components.shape == (K,)
        return [Near(f"s3://fruits/images/Training/Lime/{self.run}-{n}.png", "Lime", 0.9 - n / 10) for n in range(k)]


@dataclass
class Bucket:
    """A bucket whose `latest.json` and images a test changes."""

    pointer: Any = "first"
    images: dict[str, bytes] = field(default_factory=dict)
    opened: list[Any] = field(default_factory=list)
    error: Exception | None = None

    def read(self) -> dict[str, Any]:
        return {"run": self.pointer}

    def open(self, pointer: Any) -> MemoryRun:  # noqa: ANN401 - JSON
        self.opened.append(pointer["run"])
        if self.error:
            raise self.error
        return MemoryRun(pointer["run"])

    @property
    def source(self) -> Source:
        return Source(self.read, self.open, self.images.get)


class FakeWorker:
    """The work of the child process in this process. A photo that begins with "!" is rejected for that reason."""

    def __init__(self, projection: Projection, max_pixels: int, deadline_s: float) -> None:
        assert deadline_s > 0
        self._projection, self._max_pixels = projection, max_pixels

    def embed(self, photo: bytes) -> NDArray[np.float32] | Rejected:
        if photo.startswith(b"!"):
            return Rejected(Stage.DECODE, Reason(photo[1:].decode()), "Rejected by the test.")
        return recognition._embed(photo, self._max_pixels, self._projection)  # noqa: SLF001

    def shrink(self, image: bytes) -> bytes | None:
        return thumbnail(image)


@pytest.fixture
def projection() -> Projection:
    return small_projection()


@pytest.fixture
def memory() -> Bucket:
    return Bucket()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognise in this process, which is faster than to start a child for each test."""
    monkeypatch.setattr(recognition, "Worker", FakeWorker)
