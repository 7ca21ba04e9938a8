"""Check the stored projection: readable, orthonormal, with decreasing shares of explained variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fruits_features.projection import Projection, UnreadableProjectionError
from include.validation.checks import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

ORTHONORMALITY_LIMIT = 1e-6
"""Largest deviation of an inner product of two components from 0, or from 1 for a component with itself."""
READABLE = "projection: can be read"


def read(data: bytes) -> tuple[Projection | None, Check]:
    """Return the portable projection and its check. The projection is `None` if it is damaged."""
    try:
        projection = Projection.from_bytes(data)
    except UnreadableProjectionError as error:
        return None, Check(READABLE, passed=False, saw=str(error), wanted="a projection")
    d, k = projection.components.shape
    return projection, Check(READABLE, passed=True, saw=f"{d} features to {k} components", wanted="a projection")


def check_kept(projection: Projection, stored: bytes) -> Check:
    """Check that the projection which the run kept is the published one.

    Args:
        projection: Projection of the run.
        stored: Bytes of the projection that was kept, empty if it no longer exists.
    """
    published, readable = read(stored)
    saw = projection.version if published else f"{projection.version}, and the published one is {readable.saw}"
    wanted = published.version if published else "the published one's version"
    return Check("projection: is the published one that was kept", saw == wanted, saw, wanted)


def check(projection: Projection) -> Iterator[Check]:
    """Yield the checks of the projection itself."""
    components, shares = projection.components, projection.explained_variance
    angles = np.abs(components.T @ components - np.eye(projection.k)).max()
    yield Check.at_most("projection: components are orthonormal", float(angles), ORTHONORMALITY_LIMIT)
    rises = int((np.diff(shares) > 0).sum())
    yield Check.none("projection: explained variance decreases", "components explain more than the one before", rises)
    total = float(shares.sum())
    passed = bool((shares >= 0).all()) and 0 < total <= 1 + 1e-6
    saw = f"{total:.4f} in {projection.k} components"
    yield Check("projection: explained variance", passed, saw, "shares from 0 that add up to at most 1")
