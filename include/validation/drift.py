"""Compare a run with the published one. Failed checks are warnings, since data may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fruits_features.contract.families import FAMILIES, dimensions
from include.validation.checks import Check, Severity
from include.validation.recogniser_drop import NO_RECOGNISER, EvaluatedRecogniser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from fruits_features.projection import Projection

CATEGORY_SHIFT = 0.1
"""Largest share of the images that would have to change category to give the shares of the published run."""
MEAN_SHIFT = 0.2
"""Largest distance of a family's mean from its mean when the published projection was fitted, in standard deviations
of the family."""
VARIANCE_LOSS = 0.05
"""Largest loss of explained variance, as a share of the total variance."""
FEWER_IMAGES = 0.1
"""Largest share of images lost."""


@dataclass(frozen=True)
class Published:
    """The published run.

    Args:
        categories: Number of rows of its `features/` by category.
        projection: Its projection, or `None` if this version cannot read it.
        evaluated: Its recogniser and what it recognised.
    """

    categories: Mapping[str, int]
    projection: Projection | None
    evaluated: EvaluatedRecogniser = NO_RECOGNISER


def compare(
    categories: Mapping[str, int], mean: NDArray[np.float64], projection: Projection, published: Published
) -> Iterator[Check]:
    """Yield the checks that compare a run with the published one.

    Args:
        categories: Number of rows of `features/` by category.
        mean: Mean of the features, shape (d,). A kept projection has the mean of earlier images instead.
        projection: Projection of the run.
        published: The published run.
    """
    yield from _category_checks(categories, published.categories)
    old = published.projection
    if old is None or _families(old) != _families(projection):
        families = "none that can be read" if old is None else _families(old)
        saw, wanted = _families(projection), f"those of the published run: {families}"
        yield Check("drift: families", passed=False, saw=saw, wanted=wanted, severity=Severity.WARNING)
        return
    loss = float(old.explained_variance.sum() - projection.explained_variance.sum())
    yield _warn("drift: explained variance lost", loss, VARIANCE_LOSS)
    for name, shift in _mean_shifts(mean, old).items():
        yield _warn(f"drift: mean of family {name} moved, in standard deviations", shift, MEAN_SHIFT)


def _category_checks(now: Mapping[str, int], before: Mapping[str, int]) -> Iterator[Check]:
    """Compare the numbers of images by category. A published run without numbers is not a baseline."""
    lost, moved = "drift: share of images lost since the published run", "drift: share of images that changed category"
    images = sum(before.values())
    if not images:
        for name in (lost, moved):
            yield Check.not_checked(name, "the record of the published run has no images by category")
        return
    yield _warn(lost, (images - sum(now.values())) / images, FEWER_IMAGES)
    shift = sum(abs(_share(name, now) - _share(name, before)) for name in {*now, *before}) / 2
    yield _warn(moved, shift, CATEGORY_SHIFT)


def _share(name: str, categories: Mapping[str, int]) -> float:
    return categories.get(name, 0) / max(1, sum(categories.values()))


def _families(projection: Projection) -> str:
    """Return the names of the families, with the model of the family `onnx`."""
    names = ", ".join(projection.families)
    return f"{names} (model of SHA-256 {projection.model.sha256[:12]})" if projection.model else names


def _mean_shifts(mean: NDArray[np.float64], old: Projection) -> dict[str, float]:
    """Return the distance of each family's mean from its mean in `old`, in standard deviations of the family."""
    ends = np.cumsum(dimensions(old.families, len(old.mean)))[:-1]
    shifts = {}
    for name, now, before, spread in zip(
        old.families, *(np.split(part, ends) for part in (mean, old.mean, old.spread)), strict=True
    ):
        deviation = float(spread[0]) * FAMILIES[name].weight
        distance = float(np.linalg.norm(now - before))
        shifts[name] = distance / deviation if deviation else float(distance > 0)
    return shifts


def _warn(name: str, saw: float, limit: float) -> Check:
    return Check.at_most(name, saw, limit, Severity.WARNING)
