"""The recogniser: computes the probability of each category from the components of an image. Needs NumPy only.

    from fruits_features import projection
    from fruits_features.recogniser import model

    run = "s3://fruits/features/runs/2026-11-20"
    components = projection.load(f"{run}/projection/projection.npz").embed(photo)
    guesses = model.load(f"{run}/recogniser/recogniser.npz").recognise(components, top=5)

An `s3://` URI also needs obstore.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fruits_features.io import sealed_npz
from fruits_features.io.sealed_npz import UnreadableArchiveError
from fruits_features.io.uri import read_published

MIN_CATEGORIES = 2


class UnreadableRecogniserError(ValueError):
    """A file is not a recogniser, or is damaged. The message is the end of a sentence."""


@dataclass(frozen=True)
class CalibrationBin:
    """Images whose most probable category has about the same probability.

    Args:
        images: Number of images.
        confidence: Mean probability of their most probable category.
        accuracy: Share of the images that belong to their most probable category.
    """

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """Result of a cross-validation on the training images.

    Args:
        images: Number of images that were recognised without having been fitted.
        folds: Number of folds.
        accuracy: Share of the images whose most probable category is theirs.
        log_loss: Mean negative logarithm of the probability of an image's category.
        calibration_error: Mean distance of confidence and accuracy over `bins`, weighted by images.
        bins: Bins of increasing confidence, without empty ones.
    """

    images: int
    folds: int
    accuracy: float
    log_loss: float
    calibration_error: float
    bins: tuple[CalibrationBin, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the evaluation from the result of `dataclasses.asdict`."""
        return cls(**{**document, "bins": tuple(CalibrationBin(**values) for values in document["bins"])})


@dataclass(frozen=True)
class Recogniser:
    """A linear discriminant in the space of a projection's components.

    Args:
        categories: Names of the C categories, sorted.
        weights: Weight of each component for each category, float64, k x C.
        bias: Offset of each category, float64, C values. The softmax of `components @ weights + bias` is the
            calibrated probability: `weights` and `bias` are divided by the temperature already.
        projection: Version of the projection that computes the components.
        images: Number of training images of each category.
        shrinkage: Share of the multiple of the identity in the covariance, from 0 to 1.
        temperature: Divisor of the discriminant's logits, positive.
        evaluation: Result of the cross-validation; `None` if there were too few images for one.
    """

    categories: tuple[str, ...]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    projection: str
    images: tuple[int, ...]
    shrinkage: float
    temperature: float
    evaluation: Evaluation | None = None

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.weights.shape[0])

    def probabilities(self, components: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of each category.

        Args:
            components: Components of n images, n x k, float32.

        Returns:
            n x C, float64. Each row adds up to 1.

        Raises:
            ValueError: The images have another number of components.
        """
        if components.shape[1:] != (self.k,):
            raise ValueError(
                f"The components have the shape {components.shape}, and this recogniser takes n x {self.k}; "
                f"compute them by the projection {self.projection}."
            )
        return softmax(components.astype(np.float64) @ self.weights + self.bias)

    def recognise(self, components: NDArray[np.float32], top: int | None = None) -> list[tuple[str, float]]:
        """Return the categories of one image with their probabilities, the most probable first.

        Args:
            components: Components of the image, k values, float32.
            top: Number of categories; all by default.

        Raises:
            ValueError: The image has another number of components, or a component is not a finite number.
        """
        if not np.isfinite(components).all():
            raise ValueError(
                f"The components contain a number that is not finite; compute them by the projection {self.projection}."
            )
        (probabilities,) = self.probabilities(components[np.newaxis])
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [(self.categories[number], float(probabilities[number])) for number in order.tolist()]

    def to_bytes(self) -> bytes:
        """Return the recogniser as the content of an `.npz` file without pickles, with its digest as ZIP comment."""
        return sealed_npz.encode(
            categories=np.array(self.categories),
            weights=self.weights,
            bias=self.bias,
            projection=np.array(self.projection),
            images=np.array(self.images, np.int64),
            shrinkage=np.array(self.shrinkage),
            temperature=np.array(self.temperature),
            evaluation=np.array(json.dumps(self.evaluation and asdict(self.evaluation))),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a recogniser from the content of an `.npz` file.

        Raises:
            UnreadableRecogniserError: The file is damaged or no recogniser.
        """
        try:
            recogniser = cls._of(sealed_npz.decode(data))
        except UnreadableArchiveError as error:
            raise UnreadableRecogniserError(str(error)) from error
        except sealed_npz.OTHER_CONTENT as error:
            raise UnreadableRecogniserError(f"{type(error).__name__}: {error}") from error
        if not recogniser.is_consistent:
            raise UnreadableRecogniserError("its arrays do not fit together, or are not finite")
        return recogniser

    @property
    def is_consistent(self) -> bool:
        """Whether the arrays have the shapes of one recogniser, and only finite numbers."""
        count, numbers = len(self.categories), (self.weights, self.bias)
        return (
            count >= MIN_CATEGORIES
            and all(before < after for before, after in pairwise(self.categories))
            and [array.dtype for array in numbers] == [np.float64, np.float64]
            and [self.weights.shape[1:], self.bias.shape, np.shape(self.images)] == [(count,)] * 3
            and all(np.isfinite(array).all() for array in numbers)
            and min(self.images) > 0
            and 0 <= self.shrinkage <= 1
            and 0 < self.temperature < np.inf
        )

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the recogniser of the arrays of an `.npz` file. Errors are those of `sealed_npz.OTHER_CONTENT`."""
        evaluation = json.loads(str(arrays["evaluation"]))
        return cls(
            categories=tuple(arrays["categories"].tolist()),
            weights=arrays["weights"],
            bias=arrays["bias"],
            projection=str(arrays["projection"]),
            images=tuple(arrays["images"].tolist()),
            shrinkage=float(arrays["shrinkage"]),
            temperature=float(arrays["temperature"]),
            evaluation=evaluation and Evaluation.of(evaluation),
        )


def load(uri: str | Path) -> Recogniser:
    """Load a run's recogniser.

    Args:
        uri: Path or `s3://` URI of `recogniser.npz`.

    Raises:
        FileNotFoundError: The recogniser does not exist.
        S3AccessError: There are no credentials, or S3 rejected them.
        UnreadableRecogniserError: The file is damaged or no recogniser.
    """
    return Recogniser.from_bytes(read_published(uri))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of logits, n x C. Large logits do not overflow.

    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float64)
