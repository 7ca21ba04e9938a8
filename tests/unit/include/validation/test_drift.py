"""Figures of the comparison with the published run."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fruits_features.projection import Projection
from include.validation.drift import Published, compare

ORB, TEXTURE = 256, 30
ZEROS = np.zeros(ORB + TEXTURE)


def projection(spread: tuple[float, float] = (1, 1), shares: Sequence[float] = (0.6, 0.3)) -> Projection:
    """Return a projection of the families orb, whose weight is 0.25, and texture, whose weight is 1."""
    components = np.zeros((ORB + TEXTURE, len(shares)))
    return Projection(("orb", "texture"), ZEROS, np.repeat(spread, [ORB, TEXTURE]), components, np.array(shares))


def figures(
    now: dict[str, int],
    before: dict[str, int],
    old: Projection | None = None,
    new: Projection | None = None,
    mean: NDArray[np.float64] = ZEROS,
) -> dict[str, float]:
    checks = compare(now, mean, new or projection(), Published(before, old or projection()))
    return {check.name.removeprefix("drift: "): float(check.saw) for check in checks}


@pytest.mark.parametrize(
    ("now", "before", "lost", "moved"),
    [
        ({"Apple": 9, "Lime": 9}, {"Apple": 9, "Lime": 9}, 0, 0),
        ({"Apple": 9}, {"Apple": 12}, 0.25, 0),
        ({"Apple": 15}, {"Apple": 12}, -0.25, 0),
        ({"Apple": 8, "Lime": 12, "Fig": 5}, {"Apple": 10, "Lime": 10}, -0.25, 0.2),
        ({"Apple": 10}, {"Apple": 5, "Lime": 5}, 0, 0.5),
        ({}, {"Apple": 5, "Lime": 5}, 1, 0.5),
    ],
)
def test_images_lost_and_moved_to_another_category(
    now: dict[str, int], before: dict[str, int], lost: float, moved: float
) -> None:
    found = figures(now, before)

    assert found["share of images lost since the published run"] == lost
    assert found["share of images that changed category"] == pytest.approx(moved)


@pytest.mark.parametrize(("spread", "moved"), [((8, 4), (0.5, 0.25)), ((0, 0), (1, 1))])
def test_mean_of_a_family_moves_in_its_standard_deviations(
    spread: tuple[float, float], moved: tuple[float, float]
) -> None:
    """The spread is the standard deviation of the family, divided by its weight. Without variance, any move is 1."""
    mean = ZEROS.copy()
    mean[[0, -1]] = 1

    found = figures({"Apple": 1}, {"Apple": 1}, old=projection(spread), mean=mean)

    families = [found[f"mean of family {name} moved, in standard deviations"] for name in ("orb", "texture")]
    assert families == list(moved)


def test_new_projection_that_explains_less_loses_variance() -> None:
    found = figures({"Apple": 1}, {"Apple": 1}, old=projection(shares=(0.6, 0.3)), new=projection(shares=(0.8,)))

    assert found["explained variance lost"] == 0.1
