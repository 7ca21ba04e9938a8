"""The portable projection: from an image's bytes to its place among the components, without Spark.

    from fruits_features.projection import load
    vector = load("s3://fruits/features/runs/2026-11-20/projection/projection.npz").embed(image_bytes)

The same numbers as the run's Parquet, column `pca`. Needs numpy and OpenCV; a local file needs nothing else, an `s3://`
address also obstore, and the family `onnx` its model and onnxruntime.
"""

import io
import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.families import FAMILIES, MODEL_FAMILY
from fruits_features.contract.rejections import Rejected
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures, add_embeddings
from fruits_features.extraction.families.onnx import Weights
from fruits_features.io.uri import read

DEFAULT_MAX_PIXELS = 50_000_000

BLOCK_ROWS = 256
"""Rows projected at once: a few megabytes in double precision, which stay in the processor's cache."""


class NotAnImageError(ValueError):
    """The bytes given to `embed` cannot be described; the message tells why."""


@dataclass(frozen=True)
class Projection:
    """Centre every column, scale every family, project on the components.

    Args:
        families: names of the families, in the order of their features.
        mean: of every feature, float64, d values.
        spread: what every feature is divided by: the square root of its family's total variance; 0 for a family without
            any, whose features then count for nothing. Float64, d values.
        components: unit vectors as columns, d x k, float64; the largest loading of each is positive.
        explained_variance: each component's share of the variance, decreasing, k values.
        model: of the family `onnx`, where it is one of them.
        categories: that the images it was fitted on show, sorted; empty where an older version did not tell.
    """

    families: tuple[str, ...]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    components: NDArray[np.float64]
    explained_variance: NDArray[np.float64]
    model: Weights | None = None
    categories: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """A hash of all that its numbers depend on: vectors of one version can be compared, others cannot."""
        told = [self.families, {name: _parameters(name) for name in self.families}, self.model and self.model.sha256]
        digest = sha256(json.dumps(told, sort_keys=True).encode())
        for numbers in (self.mean, self.spread, self.components, self.explained_variance):
            digest.update(np.ascontiguousarray(numbers, "<f8").tobytes())
        return digest.hexdigest()[:12]

    @property
    def k(self) -> int:
        """How many components there are."""
        return int(self.components.shape[1])

    def project(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project rows of features, n x d, on the components: n x k.

        As `scaled` and then multiplied, but without a copy of all features, which took longer than the rest.
        """
        weights = self.scale[:, np.newaxis] * self.components
        offset = self.mean @ weights
        projected = np.empty((len(features), self.k), np.float32)
        block = np.empty((min(len(features), BLOCK_ROWS), features.shape[1]))
        for start in range(0, len(features), BLOCK_ROWS):
            rows = features[start : start + BLOCK_ROWS]
            block[: len(rows)] = rows
            projected[start : start + BLOCK_ROWS] = block[: len(rows)] @ weights - offset
        return projected

    def scaled(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Centre and scale rows of features, n x d, as they are before they are projected."""
        return np.asarray((features - self.mean) * self.scale, np.float64)

    @property
    def scale(self) -> NDArray[np.float64]:
        """What features are multiplied by: 0 for a family without any spread."""
        return np.divide(1, self.spread, out=np.zeros_like(self.spread), where=self.spread > 0)

    def embed(self, image: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.float32]:
        """Project one image, given as the bytes of its file: k values.

        Raises:
            ModelError: when the model of the family `onnx` cannot be used.
            NotAnImageError: when the image cannot be described.
        """
        outcome = self.extract(image, max_pixels)
        if isinstance(outcome, Rejected):
            raise NotAnImageError(f"{outcome.stage}: {outcome.reason}: {outcome.detail}")
        return np.asarray(self.project(outcome.features[np.newaxis])[0])

    def extract(self, image: bytes, max_pixels: int) -> ImageFeatures | Rejected:
        """Extract the features that are projected from one image, given as the bytes of its file.

        Raises:
            ModelError: when the model of the family `onnx` cannot be used.
        """
        if self.model is None:
            return ImageExtractor(self.families, max_pixels).extract(image)
        model = self.model.open()
        outcome = ImageExtractor(self.families, max_pixels, model_size=model.size).extract(image)
        return add_embeddings([outcome], self.families, model)[0]

    def to_bytes(self) -> bytes:
        """Write the projection as a `.npz` file without pickles."""
        file = io.BytesIO()
        np.savez(
            file,
            families=np.array(self.families),
            parameters=np.array(json.dumps({name: _parameters(name) for name in self.families}, sort_keys=True)),
            mean=self.mean,
            spread=self.spread,
            components=self.components,
            explained_variance=self.explained_variance,
            categories=np.array(self.categories, str),
            model=np.array(json.dumps(self.model and asdict(replace(self.model, path=None)), sort_keys=True)),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: when it was written by a version whose families have other parameters.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            families = tuple(str(name) for name in file["families"])
            wrote = json.loads(str(file["parameters"]))
            for name in families:
                if name not in FAMILIES or wrote[name] != _parameters(name):
                    raise ValueError(
                        f"this projection's family {name} was computed with {wrote[name]}, which this version cannot; "
                        "load it with the version of fruits_features that wrote it."
                    )
            model = Weights(**json.loads(str(file["model"]))) if MODEL_FAMILY in families else None
            categories = tuple(str(name) for name in file["categories"]) if "categories" in file else ()
            numbers = {name: file[name] for name in ("mean", "spread", "components", "explained_variance")}
            return cls(families, **numbers, model=model, categories=categories)


def load(uri: str | Path) -> Projection:
    """Load a run's projection from a path or an `s3://` URI, and the model that it needs, if any, from where it lay.

    Raises:
        FileNotFoundError: when there is none.
        ModelError: when the model cannot be used.
        ValueError: when this version cannot compute its features.
    """
    projection = Projection.from_bytes(read(uri))
    if projection.model is not None:
        projection.model.open()
    return projection


def _parameters(name: str) -> object:
    """Tell what a family is computed with, as JSON would give it back."""
    module = import_module(f"fruits_features.extraction.families.{name}")
    views = import_module("fruits_features.imaging.normalize")
    described_at = {"side": views.SIDE, "orb": views.ORB_PARAMETERS}
    parameters: object = json.loads(json.dumps({"view": described_at, "family": module.PARAMETERS}))
    return parameters
