"""The portable projection: computes the components of an image from its bytes, without Spark.

    from fruits_features.projection import load
    vector = load("s3://fruits/features/runs/2026-11-20/projection/projection.npz").embed(image_bytes)

The values equal those in the column `pca` of the run's Parquet files. Needs NumPy and OpenCV. An `s3://` URI also needs
obstore. The family `onnx` also needs onnxruntime and its model.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.arguments import DEFAULT_MAX_IMAGE_PIXELS
from fruits_features.contract.families import FAMILIES, MODEL_FAMILY, dimensions
from fruits_features.contract.rejections import Rejected
from fruits_features.extraction.extract import OVERSAMPLING, ImageExtractor, ImageFeatures, add_embeddings
from fruits_features.extraction.families.onnx import Weights
from fruits_features.io import sealed_npz
from fruits_features.io.sealed_npz import UnreadableArchiveError
from fruits_features.io.uri import read_published

BLOCK_ROWS = 256
"""Rows projected at once: a few megabytes in double precision, which fit into the processor's cache."""


class UnreadableProjectionError(ValueError):
    """A file is not a projection, is damaged, or is of another version. The message is the end of a sentence."""


class NotAnImageError(ValueError):
    """No features can be computed from the bytes given to `embed`. The message contains the reason."""


@dataclass(frozen=True)
class Projection:
    """A projection: centres each column, scales each family, and projects on the components.

    Args:
        families: Names of the families, in the order of their features.
        mean: Mean of each feature, float64, d values.
        spread: Divisor of each feature, float64, d values: the square root of its family's total variance over the
            family's weight. 0 for a family without variance; its features are multiplied by 0.
        components: Unit vectors as columns, d x k, float64. The largest loading of each is positive.
        explained_variance: Share of the variance that each component explains, decreasing, k values.
        model: Model of the family `onnx`, or `None` without that family.
        categories: Categories of the images that the projection was fitted on, sorted. Empty if the version that wrote
            the projection did not record them.
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
        """Hash of everything that the projected values depend on. Only vectors of the same version can be compared."""
        parameters = {name: _parameters(name) for name in self.families}
        identity = [self.families, parameters, self.model and self.model.sha256]
        digest = sha256(json.dumps(identity, sort_keys=True).encode())
        for numbers in (self.mean, self.spread, self.components, self.explained_variance):
            digest.update(np.ascontiguousarray(numbers, "<f8").tobytes())
        return digest.hexdigest()[:12]

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.components.shape[1])

    def project(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project features on the components.

        Equals `scaled` followed by a multiplication, but avoids a copy of all features.

        Args:
            features: n x d, float32.

        Returns:
            n x k, float32.
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
        """Return centred and scaled features, n x d, float64."""
        return np.asarray((features - self.mean) * self.scale, np.float64)

    @property
    def scale(self) -> NDArray[np.float64]:
        """Factor of each feature, d values: 1 / `spread`, and 0 for a family without variance."""
        return np.divide(1, self.spread, out=np.zeros_like(self.spread), where=self.spread > 0)

    def columns(self, family: str) -> slice:
        """Return the columns of a family's features among all."""
        counts = dimensions(self.families, len(self.mean))
        number = self.families.index(family)
        start = sum(counts[:number])
        return slice(start, start + counts[number])

    def part(self, family: str) -> Self:
        """Return the projection of one family's features alone.

        Its components are the family's part of the complete ones, which are the sum over all families. `components` and
        `explained_variance` are those of the complete projection: no unit vectors, and no shares of the family.
        """
        columns = self.columns(family)
        return replace(
            self,
            families=(family,),
            mean=self.mean[columns],
            spread=self.spread[columns],
            components=self.components[columns],
            model=self.model if family == MODEL_FAMILY else None,
        )

    def embed(self, image: bytes, max_pixels: int = DEFAULT_MAX_IMAGE_PIXELS) -> NDArray[np.float32]:
        """Compute the components of one image.

        Args:
            image: Content of the image file.
            max_pixels: Largest number of pixels; larger images are rejected before they are decoded.

        Returns:
            k values, float32.

        Raises:
            ModelError: The model of the family `onnx` cannot be used.
            NotAnImageError: No features can be computed from the image.
            TypeError: The image is not bytes.
        """
        if not isinstance(image, bytes):
            raise TypeError(f"An image cannot be of the type {type(image).__name__}; give the bytes of one image file.")
        outcome = self.extract(image, max_pixels)
        if isinstance(outcome, Rejected):
            raise NotAnImageError(f"{outcome.stage}: {outcome.reason}: {outcome.detail}")
        return np.asarray(self.project(outcome.features[np.newaxis])[0])

    def extract(self, image: bytes, max_pixels: int) -> ImageFeatures | Rejected:
        """Compute the features of one image, before the projection.

        Args:
            image: Content of the image file.
            max_pixels: Largest number of pixels; larger images are rejected before they are decoded.

        Raises:
            ModelError: The model of the family `onnx` cannot be used.
        """
        if self.model is None:
            return ImageExtractor(self.families, max_pixels).extract(image)
        model = self.model.open()
        outcome = ImageExtractor(self.families, max_pixels, model_size=model.size).extract(image)
        return add_embeddings([outcome], self.families, model)[0]

    def to_bytes(self) -> bytes:
        """Return the projection as the content of an `.npz` file without pickles, with its digest as ZIP comment."""
        return sealed_npz.encode(
            families=np.array(self.families),
            parameters=np.array(json.dumps({name: _parameters(name) for name in self.families}, sort_keys=True)),
            mean=self.mean,
            spread=self.spread,
            components=self.components,
            explained_variance=self.explained_variance,
            categories=np.array(self.categories, str),
            model=np.array(json.dumps(self.model and asdict(replace(self.model, path=None)), sort_keys=True)),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a projection from the content of an `.npz` file. Older versions wrote no digest.

        Raises:
            UnreadableProjectionError: The file is damaged or no projection, or was written by a version whose families
                have other parameters.
        """
        try:
            projection = cls._of(sealed_npz.decode(data, older_without_seal=True))
        except UnreadableProjectionError:
            raise
        except UnreadableArchiveError as error:
            raise UnreadableProjectionError(str(error)) from error
        except sealed_npz.OTHER_CONTENT as error:
            raise UnreadableProjectionError(f"{type(error).__name__}: {error}") from error
        if not projection.is_consistent:
            raise UnreadableProjectionError("its arrays do not fit together, or are not finite")
        return projection

    @property
    def is_consistent(self) -> bool:
        """Whether the arrays have the shapes of one projection, and only finite numbers."""
        arrays = (self.mean, self.spread, self.components, self.explained_variance)
        d, k = self.components.shape if self.components.ndim == len(("d", "k")) else (0, 0)
        return [array.shape for array in arrays] == [(d,), (d,), (d, k), (k,)] and all(
            np.isfinite(array).all() for array in arrays
        )

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the projection of the arrays of an `.npz` file. Errors are those of `sealed_npz.OTHER_CONTENT`."""
        families = tuple(str(name) for name in arrays["families"])
        written = json.loads(str(arrays["parameters"]))
        for name in families:
            if name not in FAMILIES or written[name] != _parameters(name):
                raise UnreadableProjectionError(
                    f"this projection's family {name} was computed with {written[name]}, which this version lacks; "
                    "load it with the version of fruits_features that wrote it."
                )
        model = Weights(**json.loads(str(arrays["model"]))) if MODEL_FAMILY in families else None
        categories = tuple(str(name) for name in arrays.get("categories", ()))
        numbers = {name: arrays[name] for name in ("mean", "spread", "components", "explained_variance")}
        return cls(families, **numbers, model=model, categories=categories)


def load(uri: str | Path) -> Projection:
    """Load a run's projection, and its model if it has one.

    Args:
        uri: Path or `s3://` URI of `projection.npz`. The model is read from the URI stored in it.

    Raises:
        FileNotFoundError: The projection does not exist.
        ModelError: The model cannot be used.
        S3AccessError: There are no credentials, or S3 rejected them.
        UnreadableProjectionError: The file is damaged, or this version cannot compute the projection's features.
    """
    projection = Projection.from_bytes(read_published(uri))
    if projection.model is not None:
        projection.model.open()
    return projection


def _parameters(name: str) -> object:
    """Return the parameters of a family, as JSON decodes them."""
    family = import_module(f"fruits_features.extraction.families.{name}")
    image = import_module("fruits_features.imaging.normalize")
    image_parameters = {"side": image.SIDE, "oversampling": OVERSAMPLING, "orb": image.ORB_PARAMETERS}
    parameters: object = json.loads(json.dumps({"view": image_parameters, "family": family.PARAMETERS}))
    return parameters
