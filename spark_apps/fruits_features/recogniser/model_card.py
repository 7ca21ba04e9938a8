"""Writes the model card of a recogniser: its use, training data, method, evaluation and limits, for people and tools.

The YAML front matter has the fields of model cards on Hugging Face: https://huggingface.co/docs/hub/model-cards.
"""

import json

from fruits_features import __version__
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.layout import FITTED_SPLIT, RECOGNISER
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Evaluation, Recogniser


def model_card(recogniser: Recogniser, projection: Projection, arguments: Arguments) -> str:
    """Return the model card, Markdown with YAML front matter.

    Args:
        recogniser: The recogniser.
        projection: Projection that computes its components.
        arguments: Arguments of the run.
    """
    name = f"{arguments.run} on {arguments.bucket}"
    smallest, largest, images = min(recogniser.images), max(recogniser.images), sum(recogniser.images)
    return f"""\
---
library_name: fruits_features
pipeline_tag: image-classification
tags: [fruit, linear-discriminant-analysis]
metrics: [accuracy, log_loss]
model-index:
- name: {json.dumps(name)}
  results: {json.dumps(_results(recogniser.evaluation, arguments.bucket))}
---

# Recogniser of run {arguments.run}

`{RECOGNISER}` computes the probability of each of {len(recogniser.categories)} categories from a photograph's
components. Written by fruits_features {__version__}.

## Intended use

Name the fruit on a photograph that shows one kind of fruit, like the training images. Show several categories with
their probabilities. Do not decide alone by this model whether something may be eaten.

## Training data

{images} images of `s3://{arguments.bucket}`, split {FITTED_SPLIT} (all images if there is no such split):
{len(recogniser.categories)} categories of {smallest} to {largest} images. The run's folder `inventory/` lists them.

## Method

Features of the families {", ".join(projection.families)}; {projection.k} components of the projection
{projection.version}; a linear discriminant with equal priors and a common covariance (shrinkage
{recogniser.shrinkage:g}). A temperature of {recogniser.temperature:.3f} calibrates the probabilities.

## Evaluation

{_evaluation(recogniser.evaluation)}

## Limits

- The model knows its categories only. A photograph of something else also gets a category, sometimes a probable one.
- The probabilities assume that all categories are equally frequent, and photographs like the training images.
- The evaluation is an estimate from the training images. Other cameras, light and backgrounds lower the accuracy.
"""


def _evaluation(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "None: no category has two different images, so that no image could be held out."
    return (
        f"Cross-validation with {evaluation.folds} folds that keep similar images of a category together, on "
        f"{evaluation.images} sampled training images:\naccuracy {evaluation.accuracy:.3f}, log loss "
        f"{evaluation.log_loss:.3f}, expected calibration error {evaluation.calibration_error:.3f}.\n"
        "The run's report shows the accuracy by split."
    )


def _results(evaluation: Evaluation | None, bucket: str) -> list[dict[str, object]]:
    """Return the field `results` of the front matter."""
    if evaluation is None:
        return []
    metrics = [
        {"type": "accuracy", "value": round(evaluation.accuracy, 4)},
        {"type": "log_loss", "value": round(evaluation.log_loss, 4)},
    ]
    dataset = {"type": "images", "name": f"s3://{bucket}", "split": f"cross-validation on {FITTED_SPLIT}"}
    return [{"task": {"type": "image-classification"}, "dataset": dataset, "metrics": metrics}]
