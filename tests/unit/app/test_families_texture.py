"""Texture: what a user would notice of it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fruits_features.families import FAMILIES
from fruits_features.families.texture import DIMENSION, describe
from fruits_features.views import View

SMOOTH, COARSE, FINE = 0, 12, 3


def surface(period: int, color: tuple[int, int, int] = (200, 160, 60)) -> NDArray[np.uint8]:
    """Make a lit surface, with a net of darker lines unless the period is 0; asymmetric."""
    rows, columns = np.mgrid[:100, :100]
    light = 0.6 + 0.3 * rows / 99 + 0.1 * columns / 99
    if period:
        light = np.where((rows % period == 0) | ((columns + rows // 3) % period == 0), light * 0.7, light)
    return np.asarray(light[..., np.newaxis] * color, np.uint8)


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.linalg.norm(describe(View(one)) - describe(View(other))))


def test_texture_gives_the_declared_dimension_of_finite_float32() -> None:
    features = describe(View(surface(COARSE)))

    assert features.shape == (DIMENSION,)
    assert features.dtype == np.float32
    assert FAMILIES["texture"].dimension == DIMENSION
    assert np.isfinite(features).all()


def test_texture_of_the_same_image_is_the_same_to_the_bit() -> None:
    assert describe(View(surface(FINE))).tobytes() == describe(View(surface(FINE))).tobytes()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_texture_of_a_turned_image_is_the_same(quarters: int) -> None:
    turned = np.ascontiguousarray(np.rot90(surface(COARSE), quarters))

    assert distance(surface(COARSE), turned) == pytest.approx(0, abs=1e-5)


def test_texture_in_other_light_stays_nearer_than_another_texture() -> None:
    darker = surface(COARSE, (140, 112, 42))

    assert distance(surface(COARSE), darker) < distance(surface(COARSE), surface(FINE)) / 2
    assert distance(surface(COARSE), darker) < distance(surface(COARSE), surface(SMOOTH)) / 2


def test_texture_counts_each_radius_whole() -> None:
    features = describe(View(surface(COARSE)))

    assert np.square(features).reshape(-1, 10).sum(axis=1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 5)])
def test_texture_of_an_image_smaller_than_its_neighbourhoods_is_flat_where_nothing_changes(
    shape: tuple[int, int],
) -> None:
    features = describe(View(np.full((*shape, 3), 90, np.uint8)))

    assert features[[8, 18]].tolist() == pytest.approx([1, 1])
    assert np.count_nonzero(features) == 2
