"""Fits and writes the recogniser of a run, with its model card. Does not know Spark."""

import logging
from collections.abc import Sequence

from fruits_features.contract.arguments import Arguments
from fruits_features.contract.layout import MODEL_CARD, RECOGNISER, RunLayout
from fruits_features.io import object_store
from fruits_features.projection import Projection
from fruits_features.recogniser import calibration
from fruits_features.recogniser.fit import ComponentSums
from fruits_features.recogniser.model import MIN_CATEGORIES, Recogniser
from fruits_features.recogniser.model_card import model_card

_log = logging.getLogger(__name__)


def write_recogniser(
    sums: ComponentSums, categories: Sequence[str], projection: Projection, arguments: Arguments
) -> tuple[Recogniser | None, str | None]:
    """Fit the recogniser and write it, unless there are too few categories.

    Args:
        sums: Sums of the components of the training images.
        categories: Names of their categories by number.
        projection: Projection that computed the components.
        arguments: Arguments of the run.

    Returns:
        The recogniser and `None`; or `None` and the reason why there is none, one sentence.
    """
    if len(categories) < MIN_CATEGORIES:
        found = ", ".join(categories) or "none"
        why = f"It needs training images of at least {MIN_CATEGORIES} categories (found: {found})."
        _log.warning("The run has no recogniser. %s", why)
        return None, why
    recogniser = calibration.fit(sums, categories, projection.version)
    folder = RunLayout(arguments.output).recogniser
    object_store.write_bytes(folder, RECOGNISER, recogniser.to_bytes())
    object_store.write_bytes(folder, MODEL_CARD, model_card(recogniser, projection, arguments).encode())
    return recogniser, None
