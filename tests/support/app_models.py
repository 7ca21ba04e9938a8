"""A recogniser of the network that ships, and the file for an app that has the same answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fruits_features.extraction.families.onnx import Model, scale
from fruits_features.projection import Projection
from fruits_features.recogniser import app_model
from fruits_features.recogniser.model import Recogniser

if TYPE_CHECKING:
    from numpy.typing import NDArray

CATEGORIES = ("Açaí", "Banana", "Cherry 2", "Lime")


@dataclass(frozen=True)
class Recognition:
    """A model with a projection of its embeddings and a recogniser of the components.

    Args:
        model: Content of the model's ONNX file.
        part: Projection of the embeddings.
        recogniser: Recogniser of the components.
    """

    model: bytes
    part: Projection
    recogniser: Recogniser

    @classmethod
    def of(cls, model: bytes, k: int = 8) -> Recognition:
        """Return a recognition with random numbers that make probabilities of all sizes."""
        random = np.random.default_rng(0)
        dimension = Model(model, "model").dimension
        part = Projection(
            families=("onnx",),
            mean=random.uniform(0, 1, dimension),
            spread=np.full(dimension, 2.0),
            components=random.normal(size=(dimension, k)) / np.sqrt(dimension),
            explained_variance=np.full(k, 1 / k),
        )
        weights, bias = random.normal(size=(k, len(CATEGORIES))), random.normal(size=len(CATEGORIES))
        recogniser = Recogniser(CATEGORIES, weights, bias, part.version, (3,) * len(CATEGORIES), 0.1, 1.0)
        return cls(model, part, recogniser)

    def app(self, **metadata: str) -> bytes:
        """Return the file for an app."""
        return app_model.build(self.model, self.part, self.recogniser, metadata)

    def probabilities(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the probabilities of a decoded image by the functions of the application."""
        model = Model(self.model, "model")
        components = self.part.project(model.embed([scale(image, model.size)]))
        return np.asarray(self.recogniser.probabilities(components)[0])


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture of coloured blobs."""
    blobs = np.random.default_rng(height * width).integers(0, 256, (24, 32, 3), np.uint8)
    return np.asarray(cv2.resize(blobs, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
