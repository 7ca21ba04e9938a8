"""Fits and writes the recogniser of a run, with its model card and the file for an app. Does not know Spark."""

import logging
from collections.abc import Sequence
from pathlib import Path

from fruits_features.contract.arguments import Arguments
from fruits_features.contract.families import MODEL_FAMILY
from fruits_features.contract.layout import APP_MODEL, MODEL_CARD, RECOGNISER, RunLayout
from fruits_features.extraction.families.onnx import Weights
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


def write_app_model(
    sums: ComponentSums, categories: Sequence[str], projection: Projection, model: Weights, arguments: Arguments
) -> None:
    """Write the file for an app, with a recogniser of the embeddings alone. The run does not need it.

    Args:
        sums: Sums of the training images' components of the embeddings alone, of at least two categories.
        categories: Names of their categories by number.
        projection: Projection of the run.
        model: Model of the family `onnx`.
        arguments: Arguments of the run.
    """
    try:
        from fruits_features.recogniser import app_model  # noqa: PLC0415 - nothing else needs onnx
    except ModuleNotFoundError as error:
        _log.warning("%s is not written (%s). Install spark_apps/requirements-onnx.txt.", APP_MODEL, error)
        return
    part = projection.part(MODEL_FAMILY)
    recogniser = calibration.fit(sums, categories, part.version)
    about = {"run": arguments.run, "projection": projection.version, "model_sha256": model.sha256}
    if recogniser.evaluation:
        about["cross_validated_accuracy"] = f"{recogniser.evaluation.accuracy:.3f}"
    try:
        content = app_model.build(Path(str(model.path)).read_bytes(), part, recogniser, about)
    except app_model.AppModelError as error:
        _log.warning("%s is not written. %s", APP_MODEL, error)
        return
    object_store.write_bytes(RunLayout(arguments.output).recogniser, APP_MODEL, content)
