"""Colour: invariances and differences of the features."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fruits_features.contract.families import FAMILIES
from fruits_features.extraction.families.color import DIMENSION, extract
from fruits_features.imaging.normalize import NormalizedImage

RED, GREEN, WHITE, PALE = (200, 30, 30), (60, 160, 40), (255, 255, 255), (225, 225, 225)


def fruit(color: tuple[int, int, int], background: tuple[int, int, int] = WHITE) -> NDArray[np.uint8]:
    """Return an asymmetric picture of a lit fruit with a leaf."""
    image = np.full((100, 100, 3), background, np.uint8)
    cv2.circle(image, (50, 54), 36, color, -1)
    cv2.circle(image, (40, 42), 9, [min(255, channel + 50) for channel in color], -1)
    cv2.ellipse(image, (60, 16), (12, 5), 30, 0, 360, GREEN, -1)
    return image


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.linalg.norm(extract(NormalizedImage(one)) - extract(NormalizedImage(other))))


def test_color_has_the_declared_dimension_of_finite_float32() -> None:
    features = extract(NormalizedImage(fruit(RED)))

    assert features.shape == (DIMENSION,)
    assert features.dtype == np.float32
    assert FAMILIES["color"].dimension == DIMENSION
    assert np.isfinite(features).all()


def test_color_of_same_image_is_bitwise_equal() -> None:
    assert extract(NormalizedImage(fruit(RED))).tobytes() == extract(NormalizedImage(fruit(RED))).tobytes()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_color_of_turned_image_is_the_same(quarters: int) -> None:
    turned = np.ascontiguousarray(np.rot90(fruit(RED), quarters))

    assert distance(fruit(RED), turned) == pytest.approx(0, abs=1e-5)


def test_color_of_fruit_on_darker_background_stays_nearer_than_another_fruit() -> None:
    same = distance(fruit(RED, WHITE), fruit(RED, PALE))

    assert same < distance(fruit(RED, WHITE), fruit(GREEN, WHITE)) / 2


def test_color_of_smaller_photograph_of_the_same_fruit_stays_nearer_than_another_fruit() -> None:
    smaller = np.asarray(cv2.resize(fruit(RED), (60, 60), interpolation=cv2.INTER_AREA), np.uint8)

    assert distance(fruit(RED), smaller) < distance(fruit(RED), fruit(GREEN)) / 2


def test_color_of_dimmer_photograph_stays_nearer_than_another_fruit() -> None:
    dimmer = np.asarray(fruit(RED) * 0.75, np.uint8)

    assert distance(fruit(RED), dimmer) < distance(fruit(RED), fruit(GREEN)) / 2


@pytest.mark.parametrize("value", [0, 128, 255])
def test_color_of_grey_image_is_one_bin(value: int) -> None:
    features = extract(NormalizedImage(np.full((100, 100, 3), value, np.uint8)))

    assert np.sort(features)[-2:].tolist() == pytest.approx([0, 1])


def test_colourful_pixels_count_more_than_white_ones() -> None:
    image = np.full((100, 100, 3), WHITE, np.uint8)
    image[:, :50] = RED

    white, red = np.sort(np.square(extract(NormalizedImage(image))))[-2:]

    assert red > 5 * white


def test_central_pixels_count_more_than_those_at_the_edge() -> None:
    image = np.full((100, 100, 3), WHITE, np.uint8)
    image[:25] = image[75:] = 0

    black, white = np.sort(np.square(extract(NormalizedImage(image))))[-2:]

    assert white > 1.2 * black
