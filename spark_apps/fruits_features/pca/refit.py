"""Chooses between a new projection and the published one, which keeps vectors comparable between runs."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from fruits_features.contract.arguments import Arguments, Refit
from fruits_features.contract.errors import RunError
from fruits_features.extraction.families.onnx import Weights
from fruits_features.io import object_store
from fruits_features.pca.fit import Moments
from fruits_features.projection import Projection, UnreadableProjectionError

MAX_LOSS = 0.02
"""Largest difference between the shares of the variance that a new fit and a kept projection explain.

Daily changes of the images move the share by some thousandths.
"""

MAX_NEW_SHARE = 0.05
"""Largest share of today's categories that are new to a kept projection."""

SHARE_TOLERANCE = 1e-6
"""Largest difference of two shares of the variance that counts as rounding."""

_log = logging.getLogger(__name__)


class RefitError(RunError):
    """The published projection had to be kept and cannot be. The message names the fix."""


@dataclass(frozen=True)
class ProjectionChoice:
    """The projection of a run.

    Args:
        projection: Projection that the run uses.
        kept_from: URI of the published projection if it was kept; `None` if a new one was fitted.
        why: Reason of the choice, one sentence.
        not_followed: Request that the kept projection does not follow, and how to follow it; `None` if it follows all.
    """

    projection: Projection
    kept_from: str | None
    why: str
    not_followed: str | None = None


def published(arguments: Arguments, model: Weights | None) -> tuple[Projection | None, str]:
    """Read the published projection if the run may keep it.

    Returns:
        The projection and an empty string; or `None` and the reason, one sentence.

    Raises:
        RefitError: The run must keep it and cannot.
    """
    if arguments.refit == Refit.ALWAYS:
        return None, "--refit is always."
    if not arguments.published:
        return None, "There is no published projection to keep."
    try:
        projection = Projection.from_bytes(object_store.read(arguments.published))
        reason = _incompatibility(projection, arguments, model)
    except (FileNotFoundError, UnreadableProjectionError) as error:
        reason = f"it cannot be read ({str(error).splitlines()[0]})"
    if not reason:
        return replace(projection, model=model), ""
    if arguments.refit == Refit.NEVER:
        raise RefitError(
            f"--refit is never, but the published projection {arguments.published} cannot be kept: {reason}; "
            "use the parameters that it was fitted with, or run with --refit auto or always."
        )
    _log.warning("The published projection %s is not kept: %s.", arguments.published, reason)
    return None, f"The published projection is not kept: {reason}."


def keep(published: Projection, arguments: Arguments, why: str) -> ProjectionChoice:
    """Return the choice of the published projection."""
    return ProjectionChoice(published, arguments.published, why, _not_followed(published, arguments))


def _not_followed(kept: Projection, arguments: Arguments) -> str | None:
    """Return a warning if a kept projection has other components than the explained variance requests; else `None`.

    A projection with another number of components than `k` is never kept.
    """
    share = arguments.explained_variance
    shares = kept.explained_variance.cumsum()
    fewer = float(shares[-2]) if kept.k > 1 else 0.0
    if share is None or fewer - SHARE_TOLERANCE < share <= float(shares[-1]) + SHARE_TOLERANCE:
        return None
    return (
        f"The explained variance of {share:g} was not followed, because the published projection was kept: "
        f"its {kept.k} components explain {float(shares[-1]):.4f}. Run with refit=always to follow it."
    )


def choose(fitted: Projection, moments: Moments, published: Projection, arguments: Arguments) -> ProjectionChoice:
    """Choose between a new projection and the published one.

    Args:
        fitted: Projection fitted on today's images.
        moments: Moments of today's images.
        published: Published projection that may be kept.
        arguments: Arguments of the run.
    """
    kept, new = explained(published, moments), float(fitted.explained_variance.sum())
    new_categories = set(fitted.categories) - set(published.categories)
    why = (
        f"The published one explains {kept:.4f} of today's variance, a new one {new:.4f}; "
        f"{len(new_categories)} of {len(fitted.categories)} categories are new to it."
    )
    if abs(new - kept) <= MAX_LOSS and len(new_categories) <= MAX_NEW_SHARE * len(fitted.categories):
        return keep(published, arguments, why)
    return ProjectionChoice(fitted, None, why)


def explained(projection: Projection, moments: Moments) -> float:
    """Return the share of the variance of some features that a projection explains, from 0 to 1.

    A projection ignores families that had no variance when it was fitted. If such a family varies now, the share is 0.

    Args:
        projection: Projection, fitted on these or other features.
        moments: Moments of the features.
    """
    if ((projection.spread == 0) & (np.diag(moments.scatter) > 0)).any():
        return 0.0
    scatter = moments.scatter * np.outer(projection.scale, projection.scale)
    total = float(np.trace(scatter))
    return float(((scatter @ projection.components) * projection.components).sum()) / total if total else 0.0


def _incompatibility(projection: Projection, arguments: Arguments, model: Weights | None) -> str | None:
    """Return why a projection does not match the arguments; `None` if it does."""
    if projection.families != arguments.features:
        return f"it has the families {','.join(projection.families)}, not {','.join(arguments.features)}"
    if (projection.model and projection.model.sha256) != (model and model.sha256):
        return "it was fitted with another model"
    if arguments.k not in (None, projection.k):
        return f"it has {projection.k} components, not {arguments.k}"
    return None
