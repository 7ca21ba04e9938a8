"""The linear discriminant of sums, and the choice of shrinkage and temperature."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fruits_features.recogniser import calibration, sample
from fruits_features.recogniser.calibration import Logits, best_scale, calibration_bins, calibration_error
from fruits_features.recogniser.fit import ComponentSums, merge_all
from fruits_features.recogniser.folds import FOLDS, similar_folds
from fruits_features.recogniser.model import Recogniser
from fruits_features.recogniser.sample import NONE, TrainingImages


def clusters(counts: Sequence[int], k: int = 4, noise: float = 1.0, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Return components of categories around random means, sorted by category, and the numbers of their categories."""
    random = np.random.default_rng(seed)
    code = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    mixed = random.normal(size=(len(code), k)) @ random.normal(size=(k, k))
    return (2 * random.normal(size=(len(counts), k))[code] + noise * mixed).astype(np.float32), code


def names(count: int) -> tuple[str, ...]:
    return tuple(f"category {number:05}" for number in range(count))


def sums_of(components: NDArray, code: NDArray, parts: int = 1) -> ComponentSums:
    """Return the sums of images, computed by several tasks."""
    images = TrainingImages.of(int(code.max()) + 1, code)
    ends = np.linspace(0, len(code), parts + 1).astype(int).tolist()
    slices = [slice(start, end) for start, end in pairwise(ends)]
    return merge_all(
        ComponentSums.of(components[rows], code[rows], images.sample[rows])
        for rows in np.random.default_rng(parts).permutation(slices)
    )


def fitted(components: NDArray, code: NDArray, parts: int = 1) -> Recogniser:
    return calibration.fit(sums_of(components, code, parts), names(int(code.max()) + 1), "0123456789ab")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shrinkage", [0.01, 0.3, 1.0])
def test_discriminant_equals_that_of_scikit_learn_but_for_the_priors(seed: int, shrinkage: float) -> None:
    counts = np.random.default_rng(seed).integers(2, 30, 6)
    components, code = clusters(counts.tolist(), k=5, seed=seed)
    weights, bias = sums_of(components, code).discriminant().weights(shrinkage)

    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(components.astype(float), code)

    assert pytest.approx(expected.coef_, rel=1e-5, abs=1e-6) == weights.T
    assert bias + np.log(expected.priors_) == pytest.approx(expected.intercept_, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("parts", [2, 7, 40])
def test_recogniser_does_not_depend_on_the_tasks(parts: int) -> None:
    components, code = clusters([20, 3, 17, 1, 40], k=6)
    one, several = fitted(components, code), fitted(components, code, parts)

    assert several.categories == one.categories
    assert (several.images, several.shrinkage) == (one.images, one.shrinkage)
    assert several.weights == pytest.approx(one.weights, rel=1e-9, abs=1e-9)
    assert several.bias == pytest.approx(one.bias, rel=1e-9, abs=1e-9)


def test_images_outside_the_training_set_change_nothing() -> None:
    components, code = clusters([20, 15, 10])
    more = np.concatenate([components, 100 + components[:7]])
    others = np.concatenate([code, np.full(7, NONE, np.int32)])

    assert fitted(more, others).weights == pytest.approx(fitted(components, code).weights)


def photographs(means: NDArray, visits: int, each: int, seed: int) -> tuple[NDArray, NDArray]:
    """Return components of photographs taken on some visits per category, and the numbers of the categories."""
    random = np.random.default_rng(seed)
    count, k = means.shape
    shops = (means[:, np.newaxis] + random.normal(size=(count, visits, k))).reshape(-1, k)
    components = np.repeat(shops, each, axis=0) + 0.3 * random.normal(size=(len(shops) * each, k))
    return components.astype(np.float32), np.repeat(np.arange(count), visits * each).astype(np.int32)


def test_probabilities_of_photographs_of_new_visits_are_calibrated() -> None:
    means = 0.4 * np.random.default_rng(6).normal(size=(8, 30))
    training = photographs(means, visits=6, each=8, seed=7)
    components, code = photographs(means, visits=200, each=3, seed=8)
    recogniser = fitted(*training)
    probabilities = recogniser.probabilities(components)
    right = probabilities.argmax(axis=1) == code
    weights, bias = sums_of(*training).discriminant().weights(recogniser.shrinkage)
    raw = calibration.softmax(components.astype(float) @ weights + bias)

    error = calibration_error(calibration_bins(probabilities.max(axis=1), right))

    assert error < 0.1
    assert error < calibration_error(calibration_bins(raw.max(axis=1), right)) / 3
    assert recogniser.evaluation is not None
    assert recogniser.evaluation.images == 8 * 6 * 8
    assert recogniser.evaluation.accuracy == pytest.approx(right.mean(), abs=0.1)


def test_category_with_one_image_is_recognised_and_not_evaluated() -> None:
    components, code = clusters([20, 1, 20], noise=0.2)
    recogniser = fitted(components, code)

    assert recogniser.images == (20, 1, 20)
    assert recogniser.recognise(components[20])[0][0] == names(3)[1]
    assert recogniser.evaluation is not None
    assert recogniser.evaluation.images == 40


def test_fold_outside_of_which_one_category_is_left_is_not_evaluated() -> None:
    evaluation = fitted(*clusters([20, 1])).evaluation

    assert evaluation is not None
    assert evaluation.folds == FOLDS - 1
    assert evaluation.images < 20


def test_categories_of_one_image_each_are_recognised_without_evaluation() -> None:
    components, code = clusters([1, 1, 1])
    recogniser = fitted(components, code)

    assert recogniser.evaluation is None
    assert [recogniser.recognise(row)[0][0] for row in components] == list(names(3))


def test_two_categories_with_equal_images_are_equally_probable() -> None:
    components, code = clusters([10, 10])
    twins = np.concatenate([components, components[:10]])
    recogniser = fitted(twins, np.concatenate([code, np.full(10, 2, np.int32)]))

    guesses = dict(recogniser.recognise(components[3]))

    assert guesses[names(3)[0]] == pytest.approx(guesses[names(3)[2]], rel=1e-6)
    assert guesses[names(3)[0]] > guesses[names(3)[1]]


def test_only_equal_images_are_all_equally_probable() -> None:
    recogniser = fitted(np.ones((12, 3), np.float32), np.repeat([0, 1], 6).astype(np.int32))

    assert recogniser.probabilities(np.float32([[1, 1, 1]])).tolist() == [[0.5, 0.5]]


def test_equal_images_within_each_category_lead_to_the_nearest_mean() -> None:
    means = np.float32([[0, 0], [4, 0], [0, 4]])
    code = np.repeat(np.arange(3), 5).astype(np.int32)
    recogniser = fitted(means[code], code)

    assert [recogniser.recognise(row)[0][0] for row in means + np.float32(0.5)] == list(names(3))
    assert np.isfinite(recogniser.weights).all()
    assert recogniser.is_consistent


def test_more_components_than_images_can_be_fitted() -> None:
    components, code = clusters([3, 3], k=50, noise=0.05)

    assert [fitted(components, code).recognise(row)[0][0] for row in components] == [names(2)[n] for n in code]


@pytest.mark.parametrize("true", [0.2, 1.0, 7.0])
def test_scale_has_the_smallest_log_loss(true: float) -> None:
    random = np.random.default_rng(2)
    values = random.normal(size=(4000, 3))
    cumulated = calibration.softmax(true * values).cumsum(axis=1)
    truth = (random.random((4000, 1)) > cumulated).sum(axis=1)
    halves = [Logits(values[:1000], truth[:1000]), Logits(values[1000:], truth[1000:])]

    scale = best_scale(halves)

    assert scale == pytest.approx(true, rel=0.2)
    losses = [
        -np.log(calibration.softmax(factor * scale * values)[np.arange(4000), truth]).mean()
        for factor in (1, 0.95, 1.05)
    ]
    assert min(losses) == losses[0]


def test_scale_of_images_that_are_all_right_is_finite() -> None:
    values = np.tile([[5.0, 0.0]], (50, 1))

    assert best_scale([Logits(values, np.zeros(50, np.int64))]) == pytest.approx(np.log(101) / 5)


def test_scale_of_logits_without_information_is_low() -> None:
    random = np.random.default_rng(3)

    assert best_scale([Logits(random.normal(size=(3000, 4)), random.integers(0, 4, 3000))]) < 0.1


@pytest.mark.parametrize("seed", [15, 29, 35, 40])
def test_search_for_the_scale_ends_at_the_minimum(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(4000, 3))
    truth = (random.random((4000, 1)) > calibration.softmax(0.7 * values).cumsum(axis=1)).sum(axis=1)
    smallest = best_scale([Logits(values, truth)], 0.7)

    monkeypatch.setattr(calibration, "_MAX_STEPS", 8)  # a rounded step of 0 that leaves the interval costs 30 more

    assert best_scale([Logits(values, truth)], 0.7) == pytest.approx(smallest, rel=1e-9)


def test_images_of_one_visit_stay_in_one_fold() -> None:
    random = np.random.default_rng(4)
    visits = 3 * random.normal(size=(4, FOLDS, 6))
    visit = np.tile(np.repeat(np.arange(FOLDS), 8), 4)
    code = np.repeat(np.arange(4), FOLDS * 8).astype(np.int32)
    components = visits[code, visit] + 0.1 * random.normal(size=(len(code), 6))

    fold = similar_folds(components.astype(np.float32), code)

    for category in range(4):
        groups = [set(fold[(code == category) & (visit == number)].tolist()) for number in range(FOLDS)]
        assert sorted(number for group in groups for number in group) == list(range(FOLDS))


def test_evaluation_does_not_count_doubles_of_trained_images_as_recognised() -> None:
    random = np.random.default_rng(5)
    code = np.repeat(np.arange(20), 40).astype(np.int32)
    visits = random.normal(size=(20, FOLDS, 30))
    components = visits[code, np.tile(np.repeat(np.arange(FOLDS), 8), 20)] + 0.01 * random.normal(size=(800, 30))

    evaluation = fitted(components.astype(np.float32), code).evaluation

    assert evaluation is not None
    assert evaluation.accuracy < 0.15  # a new visit has nothing in common with the others of its category


def test_sample_is_bounded_and_balanced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "SAMPLE_IMAGES", 60)
    code = np.repeat([NONE, 0, 1, 2, 3], [9, 1000, 50, 7, 1]).astype(np.int32)
    drawn = TrainingImages.of(4, code).sample

    assert np.bincount(code[drawn != NONE], minlength=4).tolist() == [15, 15, 7, 1]
    assert drawn[drawn != NONE].tolist() == list(range(38))


@pytest.mark.parametrize("end", [0, 3, 500, 1030, 1066])
def test_sample_does_not_depend_on_the_shards(monkeypatch: pytest.MonkeyPatch, end: int) -> None:
    monkeypatch.setattr(sample, "SAMPLE_IMAGES", 60)
    code = np.repeat([0, NONE, 1, 2, 3], [1000, 9, 50, 7, 1]).astype(np.int32)
    shards, images = np.split(code, [end]), np.array([1000, 50, 7, 1])
    before = [np.bincount(code[:start][code[:start] != NONE], minlength=4) for start in (0, end)]

    drawn = [TrainingImages.of(4, *counts) for (*counts,) in zip(shards, [images] * 2, before, strict=True)]

    together = np.concatenate([shard.sample for shard in drawn])
    assert together.tolist() == TrainingImages.of(4, code).sample.tolist()


def test_sample_of_many_categories_has_some_images_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "SAMPLE_IMAGES", 60)
    code = np.repeat(np.arange(500), 9).astype(np.int32)
    drawn = TrainingImages.of(500, code).sample

    assert np.bincount(code[drawn != NONE]).tolist() == [5] * 500


def test_number_of_tested_images_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MAX_TESTED", 30)
    evaluation = fitted(*clusters([50, 50])).evaluation

    assert evaluation is not None
    assert evaluation.images == 30
