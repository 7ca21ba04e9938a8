"""Whether a run fits its projection anew, or keeps the published one so that its vectors stay comparable."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from fruits_features.contract.arguments import Arguments, Refit
from fruits_features.contract.errors import RunError
from fruits_features.extraction.families.onnx import Weights
from fruits_features.io import object_store
from fruits_features.pca.fit import Moments
from fruits_features.projection import Projection

LARGEST_LOSS = 0.02
"""Of the explained share of the variance, against a new fit: a kept projection may lose no more. A fit for 0.95 on the
same images a day later moves by some thousandths."""

LARGEST_NEW_SHARE = 0.05
"""A kept projection may not know this share of today's categories, and no more."""

_log = logging.getLogger(__name__)


class RefitError(RunError):
    """The projection that was to be kept cannot be; the message tells the way out."""


@dataclass(frozen=True)
class ProjectionChoice:
    """The projection of a run.

    Args:
        projection: that the run uses.
        kept_from: where it was published, when it was kept.
        why: it was kept or fitted: one sentence.
    """

    projection: Projection
    kept_from: str | None
    why: str


def published(arguments: Arguments, model: Weights | None) -> Projection | None:
    """Read the published projection, if the run may keep it.

    Raises:
        RefitError: when the run must keep it and cannot.
    """
    if arguments.refit == Refit.ALWAYS or not arguments.published:
        return None
    try:
        found = Projection.from_bytes(object_store.read(arguments.published))
        hindrance = _incompatibility(found, arguments, model)
    except (FileNotFoundError, ValueError) as error:
        hindrance = f"it cannot be read ({str(error).splitlines()[0]})"
    if not hindrance:
        return replace(found, model=model)
    if arguments.refit == Refit.NEVER:
        raise RefitError(
            f"--refit is never, but the published projection {arguments.published} cannot be kept: {hindrance}; "
            "ask for what it was fitted for, or run with --refit auto or always."
        )
    _log.warning("The published projection %s is not kept: %s.", arguments.published, hindrance)
    return None


def keep(published: Projection, arguments: Arguments, why: str) -> ProjectionChoice:
    """Keep the published projection."""
    return ProjectionChoice(published, arguments.published, why)


def choose(fresh: Projection, moments: Moments, published: Projection | None, arguments: Arguments) -> ProjectionChoice:
    """Choose between a new fit and the published projection.

    Args:
        fresh: fitted on today's images.
        moments: of these.
        published: that may be kept; `None` for none.
        arguments: of the run.
    """
    if published is None:
        asked = arguments.refit == Refit.ALWAYS
        return ProjectionChoice(
            fresh, None, "--refit is always." if asked else "There is no published projection to keep."
        )
    now, new = explained(published, moments), float(fresh.explained_variance.sum())
    unknown = set(fresh.categories) - set(published.categories)
    why = (
        f"The published one explains {now:.4f} of today's variance, a new one {new:.4f}; "
        f"{len(unknown)} of {len(fresh.categories)} categories are new to it."
    )
    if abs(new - now) <= LARGEST_LOSS and len(unknown) <= LARGEST_NEW_SHARE * len(fresh.categories):
        return keep(published, arguments, why)
    return ProjectionChoice(fresh, None, why)


def explained(projection: Projection, moments: Moments) -> float:
    """Tell the share of the variance that a projection explains of features it was perhaps not fitted on.

    A family that did not vary when it was fitted has no part in it; where it does now, nothing is explained.
    """
    if ((projection.spread == 0) & (np.diag(moments.scatter) > 0)).any():
        return 0.0
    scatter = moments.scatter * np.outer(projection.scale, projection.scale)
    total = float(np.trace(scatter))
    return float(((scatter @ projection.components) * projection.components).sum()) / total if total else 0.0


def _incompatibility(found: Projection, arguments: Arguments, model: Weights | None) -> str | None:
    """Tell why a projection does not fit what is asked for."""
    if found.families != arguments.features:
        return f"it is of the families {','.join(found.families)}, not {','.join(arguments.features)}"
    if (found.model and found.model.sha256) != (model and model.sha256):
        return "it is of another model"
    if arguments.k not in (None, found.k):
        return f"it has {found.k} components, not {arguments.k}"
    return None
