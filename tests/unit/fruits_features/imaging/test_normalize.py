"""Normalization: the relit image and its weights."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fruits_features.imaging.normalize import NormalizedImage


def crate(illuminant: tuple[float, float, float] = (1, 1, 1)) -> NDArray[np.uint8]:
    """Return a picture of many colours, light and dark, under an illuminant."""
    rows, columns = np.mgrid[:60, :80]
    blocks = (rows // 4) * (columns // 4)  # detail that survives halving the sides
    planes = [40 + 2 * rows, 30 + 2 * columns, 60 + blocks % 130]
    return np.asarray(np.stack(planes, axis=2) * np.float64(illuminant), np.uint8)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("illuminant", [(1, 0.9, 0.7), (0.8, 0.95, 1)], ids=["warm", "cold"])
def test_relit_image_under_coloured_illuminant_differs_less_than_the_photograph(
    illuminant: tuple[float, float, float],
) -> None:
    relit = difference(NormalizedImage(crate(illuminant)).relit, NormalizedImage(crate()).relit)

    assert relit < difference(crate(illuminant), crate()) * 0.9


def test_relit_image_of_dimmer_photograph_is_equal_except_for_rounding() -> None:
    assert (
        difference(NormalizedImage(crate((0.9, 0.9, 0.9))).relit, NormalizedImage(crate()).relit) < 2
    )  # levels of 255


def test_relit_image_of_red_photograph_stays_red() -> None:
    red, green, blue = NormalizedImage(np.full((50, 50, 3), (180, 40, 40), np.uint8)).relit[0, 0].tolist()

    assert red > 2 * max(green, blue)


@pytest.mark.parametrize("level", [0, 1, 90, 255])
def test_relit_image_of_grey_photograph_stays_grey(level: int) -> None:
    relit = NormalizedImage(np.full((1, 7, 3), level, np.uint8)).relit

    assert (relit == relit[..., :1]).all()


def test_relighting_commutes_with_rotation() -> None:
    turned = np.ascontiguousarray(np.rot90(crate()))

    assert (NormalizedImage(turned).relit == np.rot90(NormalizedImage(crate()).relit)).all()


@pytest.mark.parametrize(("shape", "half"), [((100, 75), (50, 38)), ((1, 1), (1, 1)), ((1, 6), (1, 3))])
def test_relit_image_and_weights_have_half_the_sides_rounded_up(shape: tuple[int, int], half: tuple[int, int]) -> None:
    image = NormalizedImage(np.full((*shape, 3), (180, 40, 40), np.uint8))

    assert image.relit.shape == image.ycrcb.shape == (*half, 3)
    assert image.weights.shape == half
    assert (image.weights > 0).all()
