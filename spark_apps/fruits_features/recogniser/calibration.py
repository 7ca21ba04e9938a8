"""Chooses shrinkage and temperature of a recogniser by cross-validation, and fits it.

The temperature divides the logits, so that probabilities are as high as the share of right answers. Method: C. Guo,
G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017 (arXiv:1706.04599).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fruits_features.recogniser.fit import ComponentSums, Discriminant, Sample
from fruits_features.recogniser.folds import FOLDS, similar_folds
from fruits_features.recogniser.model import MIN_CATEGORIES, CalibrationBin, Evaluation, Recogniser, softmax
from fruits_features.recogniser.sample import NONE, is_evenly_spaced

MAX_TESTED = 2048
"""Largest number of held-out images, for a standard error of the accuracy of 0.01."""
MAX_LOGITS = 4_000_000
"""Largest number of held-out images times categories, 32 MB. It lowers the number of images for many categories."""
SHRINKAGES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
"""Shrinkages to choose from, in the order of preference if they are equally good."""
BINS = 10
"""Number of bins of the probability, of equal width."""

_LOSS_DECIMALS = 6
"""Decimals of a compared log loss. Smaller differences are rounding."""
_MAX_SCALE = 1e4
"""Largest inverse temperature, and the inverse of the smallest."""
_MAX_STEPS = 60
_ROUGH, _EXACT = 1e-2, 1e-12
"""Largest relative error of an inverse temperature, for the choice of the shrinkage and for the result."""


class Logits(NamedTuple):
    """Logits of the held-out images of a fold.

    Args:
        values: Logit of each category, n x C, float64.
        truth: Position of each image's category among the C, int64, n values.
    """

    values: NDArray[np.float64]
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class _Fold:
    """Held-out images of the sample, and the discriminant of its other images.

    Args:
        discriminant: Discriminant of the sampled images outside the fold.
        components: Components of images inside, of categories that occur outside.
        truth: Position of their categories in the discriminant.
    """

    discriminant: Discriminant
    components: NDArray[np.float64]
    truth: NDArray[np.int64]

    @classmethod
    def of(cls, sample: Sample, is_outside: NDArray[np.bool_], is_tested: NDArray[np.bool_]) -> "_Fold":
        outside = np.where(is_outside, sample.code, NONE).astype(np.int32)
        discriminant = ComponentSums.of(sample.components, outside, np.full_like(outside, NONE)).discriminant()
        held = ~is_outside & is_tested & np.isin(sample.code, discriminant.codes)
        truth = np.searchsorted(discriminant.codes, sample.code[held])
        return cls(discriminant, sample.components[held].astype(np.float64), truth)

    def logits(self, shrinkage: float) -> Logits:
        weights, bias = self.discriminant.weights(shrinkage)
        return Logits(self.components @ weights + bias, self.truth)


@dataclass(frozen=True)
class _Candidate:
    """A shrinkage with its best inverse temperature and its log loss."""

    shrinkage: float
    scale: float
    loss: float


def fit(sums: ComponentSums, categories: Sequence[str], projection: str) -> Recogniser:
    """Fit a recogniser.

    Args:
        sums: Sums of the training images of at least two categories.
        categories: Names of the categories by their numbers.
        projection: Version of the projection that computed the components.
    """
    shrinkage, scale, evaluation = _cross_validate(sums.sample)
    weights, bias = sums.discriminant().weights(shrinkage)
    return Recogniser(
        categories=tuple(categories[code] for code in sums.codes.tolist()),
        weights=weights * scale,
        bias=bias * scale,
        projection=projection,
        images=tuple(sums.counts.tolist()),
        shrinkage=shrinkage,
        temperature=1 / scale,
        evaluation=evaluation,
    )


def _cross_validate(sample: Sample) -> tuple[float, float, Evaluation | None]:
    """Choose the shrinkage with the smallest log loss.

    Returns:
        Shrinkage, inverse temperature and their evaluation. If no image can be held out, the evaluation is `None`.
    """
    folds = _folds(sample)
    if not folds:
        return SHRINKAGES[0], 1.0, None
    candidates, scale = [], 1.0
    for shrinkage in SHRINKAGES:
        logits = [fold.logits(shrinkage) for fold in folds]
        scale = best_scale(logits, scale, _ROUGH)
        candidates.append(_Candidate(shrinkage, scale, round(_log_loss(logits, scale), _LOSS_DECIMALS)))
    best = min(candidates, key=lambda candidate: candidate.loss)
    logits = [fold.logits(best.shrinkage) for fold in folds]
    scale = best_scale(logits, best.scale)
    return best.shrinkage, scale, evaluate(logits, scale)


def _folds(sample: Sample) -> list[_Fold]:
    """Return the folds of a sample in which images are held out and at least two categories are not."""
    number = similar_folds(sample.components, sample.code)
    categories = len(np.unique(sample.code))
    tested = max(1, min(MAX_TESTED, MAX_LOGITS // categories))
    is_tested = is_evenly_spaced(np.arange(len(number)), np.array(len(number)), tested)
    insides = [inside for inside in (number == fold for fold in range(FOLDS)) if inside.any() and not inside.all()]
    folds = [_Fold.of(sample, ~inside, is_tested) for inside in insides]
    return [fold for fold in folds if len(fold.truth) and len(fold.discriminant.codes) >= MIN_CATEGORIES]


def evaluate(folds: Sequence[Logits], scale: float) -> Evaluation:
    """Return the evaluation of held-out images.

    Args:
        folds: Logits of each fold.
        scale: Inverse of the temperature.
    """
    probabilities = [softmax(scale * fold.values) for fold in folds]
    confidence = np.concatenate([rows.max(axis=1) for rows in probabilities])
    right = np.concatenate([rows.argmax(axis=1) == fold.truth for rows, fold in zip(probabilities, folds, strict=True)])
    bins = calibration_bins(confidence, right)
    return Evaluation(
        images=len(right),
        folds=len(folds),
        accuracy=float(right.mean()),
        log_loss=_log_loss(folds, scale),
        calibration_error=calibration_error(bins),
        bins=bins,
    )


def calibration_bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """Return images by the probability of their most probable category, in bins of equal width without empty ones.

    >>> calibration_bins(np.array([0.5, 0.95, 1.0]), np.array([False, True, True]))[0]
    CalibrationBin(images=1, confidence=0.5, accuracy=0.0)
    """
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    members = [number == value for value in np.unique(number)]
    return tuple(
        CalibrationBin(int(member.sum()), float(confidence[member].mean()), float(right[member].mean()))
        for member in members
    )


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy, weighted by images."""
    images = sum(part.images for part in bins)
    return sum(part.images * abs(part.confidence - part.accuracy) for part in bins) / max(1, images)


def best_scale(folds: Sequence[Logits], start: float = 1.0, tolerance: float = _EXACT) -> float:
    """Return the inverse temperature with the smallest log loss, by Newton's method inside a shrinking interval.

    The loss counts one additional image of unknown category, so that the result stays finite if all images are right.
    Method: J. Platt, "Probabilistic Outputs for Support Vector Machines" (1999), section 2.2.

    Args:
        folds: Logits of the held-out images.
        start: First estimate.
        tolerance: Largest relative change of the last step.
    """
    low, scale, high = 1 / _MAX_SCALE, start, _MAX_SCALE
    for _ in range(_MAX_STEPS):
        slope, curvature = _slope(folds, scale)
        if slope == 0 or curvature <= 0:
            break
        low, high = (scale, high) if slope < 0 else (low, scale)
        step = scale - slope / curvature
        following = step if low <= step <= high else float(np.sqrt(low * high))
        change, scale = abs(following - scale), following
        if change <= tolerance * scale:
            break
    return scale


def _slope(folds: Sequence[Logits], scale: float) -> tuple[float, float]:
    """Return the first and second derivative of the smoothed log loss by the inverse temperature."""
    images = sum(len(fold.truth) for fold in folds)
    unknown, slope, curvature = 1 / (images + 1), 0.0, 0.0
    for values, truth in folds:
        probabilities = softmax(scale * values)
        expected = np.einsum("nc,nc->n", probabilities, values)
        squares = np.einsum("nc,nc,nc->n", probabilities, values, values)
        target = (1 - unknown) * values[np.arange(len(truth)), truth] + unknown * values.mean(axis=1)
        slope += float((expected - target).sum())
        curvature += float((squares - expected**2).sum())
    return slope / images, curvature / images


def _log_loss(folds: Sequence[Logits], scale: float) -> float:
    """Return the mean negative logarithm of the probability of an image's category."""
    losses = []
    for values, truth in folds:
        scaled = scale * values
        highest = scaled.max(axis=1)
        total = np.exp(scaled - highest[:, np.newaxis]).sum(axis=1)
        losses.append(np.log(total) + highest - scaled[np.arange(len(truth)), truth])
    return float(np.concatenate(losses).mean())
