"""One image's bytes to one image's description: the whole of what is computed of an image before any reduction.

Used by the workers on the cluster and by the portable projection alike, so that both give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.families import MODEL_FAMILY, total_dimension
from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.extraction.families.onnx import Model, scale
from fruits_features.imaging.decode import decode
from fruits_features.imaging.normalize import View

_NO_FEATURES = np.empty(0, np.float32)


class _Describe(Protocol):
    """A family's one function: a view to `dimension` float32."""

    def __call__(self, view: View) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Description:
    """What is known of one image.

    Args:
        height: of the decoded image, upright, in pixels.
        width: of the decoded image, upright, in pixels.
        pixels: the decoded image, height x width x 3, uint8, RGB, where it was asked for: it is large.
        descriptors: of its ORB keypoints, keypoints x 32, uint8.
        features: the families' features one after the other, float32.
        scaled: the image as the model takes it, for as long as `features` lack what the model tells of it.
    """

    height: int
    width: int
    pixels: NDArray[np.uint8] | None
    descriptors: NDArray[np.uint8]
    features: NDArray[np.float32]
    scaled: NDArray[np.uint8] | None = None


def describe_image(
    data: bytes | Rejected,
    names: Sequence[str],
    max_pixels: int,
    *,
    keep_pixels: bool = False,
    model_size: tuple[int, int] | None = None,
) -> Description | Rejected:
    """Decode an image and compute the named families' features.

    Args:
        data: the file's content, or why there is none, which then is the outcome.
        names: the families, in the order of their features.
        max_pixels: what has more pixels is rejected before it is decoded.
        keep_pixels: whether the description holds the decoded image too.
        model_size: height and width of what the model takes, where `onnx` is among the families; its features are then
            left to `embed`, which works on many images at once.
    """
    pixels = data if isinstance(data, Rejected) else decode(data, max_pixels)
    if isinstance(pixels, Rejected):
        return pixels
    try:
        view = View(pixels)
        own = [_describer(name)(view) for name in names if not (model_size and name == MODEL_FAMILY)]
        features = np.concatenate([_NO_FEATURES, *own])
        height, width = pixels.shape[:2]
        scaled = scale(pixels, model_size) if model_size else None
        return Description(height, width, pixels if keep_pixels else None, view.descriptors, features, scaled)
    except cv2.error as error:
        return Rejected(Stage.DESCRIBE, Reason.NOT_DESCRIBABLE, f"OpenCV: {error.err}.")


def embed(
    outcomes: Sequence[Description | Rejected], names: Sequence[str], model: Model
) -> list[Description | Rejected]:
    """Complete descriptions by what the model tells of their images."""
    scaled = [one.scaled for one in outcomes if isinstance(one, Description) and one.scaled is not None]
    embeddings = iter(model.embed(scaled))
    return [_complete(one, names, next(embeddings)) if isinstance(one, Description) else one for one in outcomes]


def _complete(description: Description, names: Sequence[str], embedding: NDArray[np.float32]) -> Description | Rejected:
    if not np.isfinite(embedding).all():
        return Rejected(Stage.DESCRIBE, Reason.NOT_DESCRIBABLE, "The model gives numbers that are not finite.")
    place = total_dimension(names[: names.index(MODEL_FAMILY)])
    features = np.concatenate([description.features[:place], embedding, description.features[place:]])
    return replace(description, features=features, scaled=None)


@cache
def _describer(name: str) -> _Describe:
    """Find a family's function; the module is loaded when the family is first used."""
    return cast("_Describe", import_module(f"fruits_features.extraction.families.{name}").describe)
