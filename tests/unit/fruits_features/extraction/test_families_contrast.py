"""Contrast: invariances and differences of the features."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fruits_features.contract.families import FAMILIES
from fruits_features.extraction.families.contrast import DIMENSION, extract
from fruits_features.imaging.normalize import NormalizedImage

RED, YELLOW, GREEN = (200, 60, 50), (220, 180, 60), (110, 160, 50)


def striped(ground: tuple[int, int, int], stripes: tuple[int, int, int], blue: float = 1) -> NDArray[np.uint8]:
    """Return an asymmetric surface with stripes of another colour, under an illuminant with less blue."""
    rows, columns = np.mgrid[:100, :100]
    image = np.where(((columns + rows // 4) % 12 < 4)[..., np.newaxis], stripes, ground)
    return np.asarray(image * (1, 1, blue), np.uint8)


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.linalg.norm(extract(NormalizedImage(one)) - extract(NormalizedImage(other))))


def test_contrast_has_the_declared_dimension_of_finite_float32() -> None:
    features = extract(NormalizedImage(striped(RED, YELLOW)))

    assert features.shape == (DIMENSION,)
    assert features.dtype == np.float32
    assert FAMILIES["contrast"].dimension == DIMENSION
    assert np.isfinite(features).all()
    assert np.square(features).sum() == pytest.approx(1)


def test_contrast_of_same_image_is_bitwise_equal() -> None:
    assert (
        extract(NormalizedImage(striped(RED, YELLOW))).tobytes()
        == extract(NormalizedImage(striped(RED, YELLOW))).tobytes()
    )


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_contrast_of_turned_image_is_the_same(quarters: int) -> None:
    turned = np.ascontiguousarray(np.rot90(striped(RED, YELLOW), quarters))

    assert distance(striped(RED, YELLOW), turned) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("color", [RED, YELLOW, GREEN, (0, 0, 0), (255, 255, 255)])
def test_contrast_of_plain_surface_is_the_middle_whatever_its_colour(color: tuple[int, int, int]) -> None:
    features = extract(NormalizedImage(np.full((100, 100, 3), color, np.uint8)))

    assert features[DIMENSION // 2] == 1
    assert np.count_nonzero(features) == 1


def test_contrast_under_another_illuminant_stays_nearer_than_other_stripes() -> None:
    same = distance(striped(RED, YELLOW), striped(RED, YELLOW, blue=0.7))

    assert same < distance(striped(RED, YELLOW), striped(RED, GREEN)) / 2


def test_contrast_differs_if_stripes_and_ground_are_swapped() -> None:
    assert distance(striped(RED, YELLOW), striped(YELLOW, RED)) > 0.5


def test_contrast_between_black_and_white_goes_to_the_end_bins() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:50] = 255
    by_luma = np.square(extract(NormalizedImage(image))).reshape(5, 25).sum(axis=1)

    assert by_luma[0] > 0.05
    assert by_luma[4] > 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 5)])
def test_contrast_of_image_smaller_than_its_surroundings_is_the_middle(shape: tuple[int, int]) -> None:
    assert extract(NormalizedImage(np.full((*shape, 3), 90, np.uint8)))[DIMENSION // 2] == 1
