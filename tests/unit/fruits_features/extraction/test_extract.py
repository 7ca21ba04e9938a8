"""Extraction of the features of one image."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.photographs import photograph
from fruits_features.contract.families import DEFAULT_FAMILIES, FAMILIES, total_dimension
from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.extraction import extract
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures
from tests.support import pictures

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


PHOTOGRAPHS = {size: photograph(*size, seed=1) for size in ((1600, 1200), (1200, 1600), (900, 901), (464, 348))}
"""JPEGs by width and height, which are decoded at 1/8, 1/8, 1/4 and 1/2 of their size."""
REAL_IMAGES = os.environ.get("FRUITS_REAL_IMAGES")


def features_of(data: bytes, **options: object) -> ImageFeatures:
    image = ImageExtractor(DEFAULT_FAMILIES, MAX_PIXELS * 10, **options).extract(data)  # type: ignore[arg-type]
    assert isinstance(image, ImageFeatures)
    return image


def similarities(one: ImageFeatures, other: ImageFeatures) -> list[float]:
    """Return the cosine of the features of each default family."""
    ends = np.cumsum([FAMILIES[name].dimension for name in DEFAULT_FAMILIES])[:-1]
    pairs = zip(np.split(one.features, ends), np.split(other.features, ends), strict=True)
    return [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs]


def decoded_completely(data: bytes) -> bytes:
    """Return a JPEG's pixels as a PNG, which is never decoded at a smaller scale."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


@pytest.mark.parametrize("size", PHOTOGRAPHS)
def test_features_of_large_jpeg_are_those_of_its_complete_pixels(size: tuple[int, int]) -> None:
    reduced, complete = (features_of(data) for data in (PHOTOGRAPHS[size], decoded_completely(PHOTOGRAPHS[size])))

    assert min(similarities(reduced, complete)) > 0.99
    assert not (reduced.features == complete.features).all()
    assert (reduced.width, reduced.height) == (complete.width, complete.height) == size


@pytest.mark.skipif(not REAL_IMAGES, reason="FRUITS_REAL_IMAGES is not set to a folder of real photographs")
def test_features_of_real_photographs_are_those_of_their_complete_pixels() -> None:
    files = [path.read_bytes() for path in sorted(Path(str(REAL_IMAGES), "grocery-fruit").rglob("*.jpg"))]
    large = [data for data in files if max(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape) >= 400]

    all_similarities = [similarities(features_of(data), features_of(decoded_completely(data))) for data in large]

    assert len(large) > 50
    assert np.median(all_similarities, axis=0).min() > 0.99


@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_height_and_width_are_those_of_the_complete_upright_image(orientation: int) -> None:
    image = features_of(pictures.turned("JPEG", orientation, pictures.picture().resize((1203, 801))))

    assert (image.height, image.width) == (801, 1203)


@pytest.mark.parametrize("size", PHOTOGRAPHS)
def test_kept_pixels_are_complete_and_do_not_change_the_features(size: tuple[int, int]) -> None:
    kept, dropped = (features_of(PHOTOGRAPHS[size], keep_pixels=keep) for keep in (True, False))

    expected = cv2.imdecode(np.frombuffer(PHOTOGRAPHS[size], np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(kept.pixels, expected)
    np.testing.assert_array_equal(kept.features, dropped.features)
    assert dropped.pixels is None


@pytest.mark.parametrize("model_size", [(224, 224), (96, 192), (64, 64)])
def test_model_gets_an_image_scaled_down_at_least_by_half(
    model_size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled_from: list[tuple[int, ...]] = []
    scale = extract.scale

    def recording(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        scaled_from.append(pixels.shape)
        return scale(pixels, size)

    monkeypatch.setattr(extract, "scale", recording)

    reduced, complete = (
        features_of(data, model_size=model_size)
        for data in (PHOTOGRAPHS[1600, 1200], decoded_completely(PHOTOGRAPHS[1600, 1200]))
    )

    assert scaled_from == [{224: (600, 800, 3), 96: (600, 800, 3), 64: (150, 200, 3)}[model_size[0]], (1200, 1600, 3)]
    assert reduced.scaled is not None
    assert complete.scaled is not None
    assert reduced.scaled.shape == (*model_size, 3)
    assert np.abs(reduced.scaled.astype(float) - complete.scaled).mean() < 1
