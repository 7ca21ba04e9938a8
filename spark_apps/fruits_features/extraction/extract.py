"""Encoded images to features: everything that is computed per image before the PCA.

The workers of a cluster and the portable projection call this module, so both give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.families import MODEL_FAMILY, total_dimension
from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.extraction.families.onnx import Embedder, scale
from fruits_features.imaging.decode import accept, decode_accepted
from fruits_features.imaging.normalize import SIDE, NormalizedImage
from fruits_features.imaging.orientation import upright
from fruits_features.imaging.scaled_jpeg import Detail

OVERSAMPLING = 2
"""Smallest number of decoded pixels per pixel of a family's input, in each direction, if the file has as many.

They are scaled by area, as complete images are."""

_NO_FEATURES = np.empty(0, np.float32)


class _Extractor(Protocol):
    """The function of a family: a normalized image to `dimension` float32 values."""

    def __call__(self, image: NormalizedImage) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class ImageFeatures:
    """The features of one image.

    Args:
        height: Height of the decoded, upright image in pixels.
        width: Width of the decoded, upright image in pixels.
        pixels: Decoded image, height x width x 3, uint8, RGB; `None` unless it was requested, since it is large.
        descriptors: ORB descriptors, keypoints x 32, uint8.
        features: Features of the families one after the other, float32.
        scaled: Image at the input size of the model, uint8, RGB; `None` once `features` contains the embedding.
    """

    height: int
    width: int
    pixels: NDArray[np.uint8] | None
    descriptors: NDArray[np.uint8]
    features: NDArray[np.float32]
    scaled: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class ImageExtractor:
    """Extracts the features of one image at a time. Can be pickled.

    Args:
        families: Names of the families, in the order of their features.
        max_pixels: Largest number of pixels; larger images are rejected before they are decoded.
        keep_pixels: Whether the result contains the decoded pixels.
        model_size: Height and width of the model's input in pixels, or `None` without a model. With a model,
            `add_embeddings` completes the features, many images at a time.
    """

    families: tuple[str, ...]
    max_pixels: int
    keep_pixels: bool = False
    model_size: tuple[int, int] | None = None

    def extract(self, data: bytes | Rejected) -> ImageFeatures | Rejected:
        """Decode an image and compute the features of all families.

        Args:
            data: Content of the file, or the reason why it could not be fetched, which is returned unchanged.
        """
        if isinstance(data, Rejected):
            return data
        header = accept(data, self.max_pixels)
        if isinstance(header, Rejected):
            return header
        pixels = decode_accepted(data, header, self._detail)
        if isinstance(pixels, Rejected):
            return pixels
        size = upright(header.height, header.width, header.orientation)
        complete = pixels if pixels.shape[:2] == size or not self.keep_pixels else decode_accepted(data, header)
        return complete if isinstance(complete, Rejected) else self._compute(pixels, size, complete)

    def _compute(
        self, pixels: NDArray[np.uint8], size: tuple[int, int], complete: NDArray[np.uint8]
    ) -> ImageFeatures | Rejected:
        """Compute the features of a decoded image.

        Args:
            pixels: Upright image, decoded with the detail that the families need.
            size: Height and width of the complete upright image.
            complete: Complete upright image, if the result contains it. The features are computed from `pixels` all the
                same, so that they do not depend on `keep_pixels`.
        """
        try:
            image = NormalizedImage(pixels)
            features = [_extractor(name)(image) for name in self._own_families]
            return ImageFeatures(
                *size,
                pixels=complete if self.keep_pixels else None,
                descriptors=image.descriptors,
                features=np.concatenate([_NO_FEATURES, *features]),
                scaled=scale(pixels, self.model_size) if self.model_size else None,
            )
        except cv2.error as error:
            return Rejected(Stage.DESCRIBE, Reason.NOT_DESCRIBABLE, f"OpenCV: {error.err}.")

    @cached_property
    def _detail(self) -> Detail:
        """Size from which every family is computed as from the complete image."""
        model_side = max(self.model_size or (0,))
        return Detail(longer=OVERSAMPLING * max(SIDE, model_side), shorter=OVERSAMPLING * model_side)

    @property
    def _own_families(self) -> list[str]:
        """Names of the families that are computed here and not by the model."""
        return [name for name in self.families if not (self.model_size and name == MODEL_FAMILY)]


def add_embeddings(
    outcomes: Sequence[ImageFeatures | Rejected], families: Sequence[str], model: Embedder
) -> list[ImageFeatures | Rejected]:
    """Insert the model's embeddings into features that `ImageExtractor` computed."""
    scaled = [one.scaled for one in outcomes if isinstance(one, ImageFeatures) and one.scaled is not None]
    embeddings = iter(model.embed(scaled))
    return [
        _with_embedding(one, families, next(embeddings)) if isinstance(one, ImageFeatures) else one for one in outcomes
    ]


def _with_embedding(
    image: ImageFeatures, families: Sequence[str], embedding: NDArray[np.float32]
) -> ImageFeatures | Rejected:
    if not np.isfinite(embedding).all():
        return Rejected(Stage.DESCRIBE, Reason.NOT_DESCRIBABLE, "The model returned values that are not finite.")
    start = total_dimension(families[: families.index(MODEL_FAMILY)])
    features = np.concatenate([image.features[:start], embedding, image.features[start:]])
    return replace(image, features=features, scaled=None)


@cache
def _extractor(family: str) -> _Extractor:
    """Return the function of a family; its module is imported on first use."""
    return cast("_Extractor", import_module(f"fruits_features.extraction.families.{family}").extract)
