"""Extraction of the features of one image."""

import cv2
import numpy as np
import pytest

from fruits_features.contract.families import FAMILIES, total_dimension
from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures

MAX_PIXELS = 10**6


def noise(height: int, width: int) -> bytes:
    return cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize("name", [family.name for family in FAMILIES.values() if family.dimension])
@pytest.mark.parametrize("size", [(100, 100), (464, 348), (1, 1), (3, 1000), (17, 23)])
def test_family_has_its_dimension_for_images_of_any_size(name: str, size: tuple[int, int]) -> None:
    image = ImageExtractor((name,), MAX_PIXELS).extract(noise(*size))

    assert isinstance(image, ImageFeatures)
    assert (image.features.shape, image.features.dtype) == ((FAMILIES[name].dimension,), np.float32)
    assert np.isfinite(image.features).all()
    assert (image.height, image.width) == size


def test_features_are_concatenated_in_the_given_order() -> None:
    both = ImageExtractor(
        (
            "color",
            "orb",
        ),
        MAX_PIXELS,
    ).extract(noise(50, 50))
    color = ImageExtractor(("color",), MAX_PIXELS).extract(noise(50, 50))

    assert isinstance(both, ImageFeatures)
    assert isinstance(color, ImageFeatures)
    assert both.features.shape == (total_dimension(["color", "orb"]),)
    assert (both.features[:432] == color.features).all()


def test_plain_image_without_keypoints_is_valid() -> None:
    plain = cv2.imencode(".png", np.full((100, 100, 3), 255, np.uint8))[1].tobytes()

    image = ImageExtractor(
        (
            "orb",
            "color",
        ),
        MAX_PIXELS,
    ).extract(plain)

    assert isinstance(image, ImageFeatures)
    assert image.descriptors.shape == (0, 32)
    assert not image.features[:256].any()


def test_other_bytes_are_rejected() -> None:
    outcome = ImageExtractor(("orb",), MAX_PIXELS).extract(b"no image")

    assert isinstance(outcome, Rejected)
    assert outcome.reason == Reason.NOT_AN_IMAGE
