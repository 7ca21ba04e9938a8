"""Texture: invariances and differences of the features."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fruits_features.contract.families import FAMILIES
from fruits_features.extraction.families.texture import DIMENSION, STEP, extract
from fruits_features.imaging.normalize import NormalizedImage

SMOOTH, COARSE, FINE = 0, 12, 3


def surface(period: int, color: tuple[int, int, int] = (200, 160, 60)) -> NDArray[np.uint8]:
    """Return an asymmetric lit surface, with a net of darker lines unless the period is 0."""
    rows, columns = np.mgrid[:100, :100]
    light = 0.6 + 0.3 * rows / 99 + 0.1 * columns / 99
    if period:
        light = np.where((rows % period == 0) | ((columns + rows // 3) % period == 0), light * 0.7, light)
    return np.asarray(light[..., np.newaxis] * color, np.uint8)


def mottled(period: int) -> NDArray[np.uint8]:
    """Return a red surface with a net of greener lines that is equally light once it is relit."""
    rows, columns = np.mgrid[:100, :100]
    net = (rows % period < 2) | ((columns + rows // 3) % period < 2)
    return np.where(net[..., np.newaxis], (120, 146, 60), (190, 114, 60)).astype(np.uint8)


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.linalg.norm(extract(NormalizedImage(one)) - extract(NormalizedImage(other))))


def test_texture_has_the_declared_dimension_of_finite_float32() -> None:
    features = extract(NormalizedImage(surface(COARSE)))

    assert features.shape == (DIMENSION,)
    assert features.dtype == np.float32
    assert FAMILIES["texture"].dimension == DIMENSION
    assert np.isfinite(features).all()


def test_texture_of_same_image_is_bitwise_equal() -> None:
    assert extract(NormalizedImage(surface(FINE))).tobytes() == extract(NormalizedImage(surface(FINE))).tobytes()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_texture_of_turned_image_is_the_same(quarters: int) -> None:
    turned = np.ascontiguousarray(np.rot90(surface(COARSE), quarters))

    assert distance(surface(COARSE), turned) == pytest.approx(0, abs=1e-5)


def test_texture_in_other_light_stays_nearer_than_another_texture() -> None:
    darker = surface(COARSE, (140, 112, 42))

    assert distance(surface(COARSE), darker) < distance(surface(COARSE), surface(FINE)) / 2
    assert distance(surface(COARSE), darker) < distance(surface(COARSE), surface(SMOOTH)) / 2


def test_texture_differs_for_pattern_of_equally_light_colours() -> None:
    plain = np.full((100, 100, 3), (190, 114, 60), np.uint8)

    assert np.ptp(NormalizedImage(mottled(COARSE)).ycrcb[..., 0]) < STEP
    assert distance(mottled(COARSE), plain) > 0.5
    assert distance(mottled(COARSE), mottled(6)) > 0.2


def test_texture_of_faint_noise_is_flat() -> None:
    noise = np.random.default_rng(0).integers(200, 202, (100, 100, 1)).astype(np.uint8)

    assert extract(NormalizedImage(noise.repeat(3, axis=2)))[::10].tolist() == pytest.approx([1] * 3, abs=0.01)


def test_texture_of_spots_that_are_clipped_at_white_is_that_of_light_spots() -> None:
    ground = np.full((100, 100, 3), 160, np.uint8)
    spots = (np.add.outer(np.arange(100) % 8 // 2, np.arange(100) % 8 // 2 * 4) == 0)[..., np.newaxis]
    clipped, lighter = (np.where(spots, np.uint8(level), ground) for level in (255, 185))

    assert NormalizedImage(clipped).relit.max() == 255
    assert NormalizedImage(lighter).relit.max() < 250
    assert distance(clipped, lighter) == pytest.approx(0, abs=1e-5)
    assert distance(clipped, ground) > 0.1


def test_texture_of_each_channel_adds_up_to_1() -> None:
    features = extract(NormalizedImage(surface(COARSE)))

    assert np.square(features).reshape(-1, 10).sum(axis=1).tolist() == pytest.approx([1] * 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 5)])
def test_texture_of_image_smaller_than_its_neighbourhoods_is_flat_where_nothing_changes(
    shape: tuple[int, int],
) -> None:
    features = extract(NormalizedImage(np.full((*shape, 3), 90, np.uint8)))

    assert features[::10].tolist() == pytest.approx([1] * 3)
    assert np.count_nonzero(features) == 3
