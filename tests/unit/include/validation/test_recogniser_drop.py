"""A drop of accuracy against the published run is found, and chance is no drop."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from fruits_features.contract.families import total_dimension
from fruits_features.pca.fit import Moments, fit
from include.validation import recogniser_drop
from include.validation.audit import Published
from include.validation.checks import Severity
from include.validation.recogniser_drop import (
    CROSS_VALIDATED,
    PAIRED,
    UNPAIRED,
    Change,
    EvaluatedRecogniser,
    PairedCounts,
    PairedRecognition,
)
from tests.support.chosen_recognisers import EVALUATION, recogniser
from tests.support.validation_runs import FAMILIES, Run

if TYPE_CHECKING:
    from include.validation.checks import Check

CENTRES = {"Apple": (1, 0), "Lime": (0, 1)}
GOOD = recogniser(CENTRES)
SWAPPED = recogniser({"Apple": (0, 1), "Lime": (1, 0)})
VECTORS = pa.list_(pa.float32())


def _images(count: int, category: str = "Apple", split: str = "Test") -> pa.RecordBatch:
    vectors = pa.array([[1.0, 0.1]] * count, VECTORS)
    columns = {"split": [split] * count, "category": [category] * count, "features": vectors, "pca": vectors}
    return pa.RecordBatch.from_pydict(columns)


def _pair(now: object = GOOD, before: object = GOOD, *batches: pa.RecordBatch) -> PairedCounts:
    paired = PairedRecognition(now, before, None)  # type: ignore[arg-type]
    return reduce(PairedCounts.merge, map(paired.count, batches), PairedCounts())


def _check(
    run: EvaluatedRecogniser,
    published: EvaluatedRecogniser | None,
    paired: PairedCounts | None = None,
    severity: Severity = Severity.WARNING,
) -> Check:
    change = recogniser_drop.find_change(run, published, paired)
    return recogniser_drop.check(run, published, change, severity)


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.ERROR])
def test_drop_on_the_same_images_has_the_requested_severity(severity: Severity) -> None:
    check = _check(
        EvaluatedRecogniser(SWAPPED),
        EvaluatedRecogniser(GOOD),
        _pair(SWAPPED, GOOD, _images(30), _images(20)),
        severity,
    )

    assert (check.passed, check.severity) == (False, severity)
    assert check.saw.startswith("0.0000 after 1.0000: -1.0000, 95 % interval -1.0000 to -0.8869 ")
    assert check.saw.endswith(f"(50 images, {PAIRED})")


def test_gain_and_equal_accuracy_pass() -> None:
    for before in (SWAPPED, GOOD):
        assert _check(EvaluatedRecogniser(GOOD), EvaluatedRecogniser(before), _pair(GOOD, before, _images(50))).passed


@pytest.mark.parametrize(
    ("lost", "gained", "images", "is_drop"),
    [
        (1, 0, 10, False),  # 0.1, but one image of ten is chance
        (15, 5, 1_000, True),  # exactly 0.01
        (14, 5, 1_000, False),  # 0.009
        (60, 50, 1_000, False),  # 0.01 with an interval that contains 0
        (90, 0, 10_000, False),  # beyond chance, but below 0.01
    ],
)
def test_drop_is_as_large_as_the_threshold_and_beyond_chance(
    *, lost: int, gained: int, images: int, is_drop: bool
) -> None:
    paired = PairedCounts(images, images // 2, lost, gained)

    change = paired.change

    assert change is not None
    assert (change.difference, change.is_drop) == (round((gained - lost) / images, 6), is_drop)


def test_images_of_categories_new_to_the_published_recogniser_are_not_compared() -> None:
    now = recogniser({**CENTRES, "Kiwi": (-1, 0)})

    paired = _pair(now, GOOD, _images(9), _images(40, "Kiwi"), _images(40, split="Training"))

    assert (paired.images, paired.recognised, paired.gained, paired.lost) == (9, 9, 0, 0)


def test_images_of_categories_that_the_run_lost_are_compared() -> None:
    before = recogniser({"Apple": (5, 5), "Kiwi": (1, 0)})

    paired = _pair(GOOD, before, _images(5), _images(5, "Kiwi"))

    assert (paired.images, paired.recognised, paired.lost, paired.gained) == (10, 5, 5, 5)


class Swap:
    """Projection of two features to two components."""

    mean = (0, 0)

    def project(self, features: np.ndarray) -> np.ndarray:
        return features[:, ::-1]


def test_published_recogniser_gets_the_components_of_its_own_projection() -> None:
    paired = PairedRecognition(GOOD, SWAPPED, Swap()).count(_images(5))  # type: ignore[arg-type]

    assert (paired.images, paired.recognised, paired.lost, paired.gained) == (5, 5, 0, 0)


@pytest.mark.parametrize("column", ["features", "pca"])
def test_images_with_incomplete_vectors_are_not_compared(column: str) -> None:
    images = _images(5)
    shorter = pa.array([[1.0], *images[column].to_pylist()[1:]], VECTORS)
    damaged = images.set_column(images.schema.get_field_index(column), column, shorter)

    paired = PairedRecognition(GOOD, SWAPPED, Swap()).count(damaged)  # type: ignore[arg-type]

    assert (paired.images, paired.recognised, paired.lost, paired.gained) == (4, 4, 0, 0)


def test_other_features_are_compared_by_the_accuracies_on_each_test_split() -> None:
    drop = _check(EvaluatedRecogniser(GOOD, (800, 1000)), EvaluatedRecogniser(GOOD, (900, 1000)))
    chance = _check(EvaluatedRecogniser(GOOD, (8, 10)), EvaluatedRecogniser(GOOD, (9, 10)))

    assert (drop.passed, chance.passed) == (False, True)
    assert drop.saw.endswith(f"(1000 images, {UNPAIRED})")


def test_without_test_images_the_cross_validations_are_compared() -> None:
    worse = recogniser(CENTRES, evaluation=replace(EVALUATION, accuracy=0.6))
    paired = _pair(worse, GOOD, _images(5, split="Training"))

    check = _check(EvaluatedRecogniser(worse), EvaluatedRecogniser(GOOD, (9, 10)), paired)

    assert not check.passed
    assert check.saw.startswith("0.6000 after 0.9000: -0.3000, 95 % interval ")
    assert check.saw.endswith(f"(100 images, {CROSS_VALIDATED})")


def test_lost_recogniser_is_a_drop() -> None:
    check = _check(EvaluatedRecogniser(None), EvaluatedRecogniser(GOOD), severity=Severity.ERROR)

    assert (check.passed, check.saw, check.severity) == (False, "no recogniser", Severity.ERROR)


@pytest.mark.parametrize(
    ("run", "published", "reason"),
    [
        (EvaluatedRecogniser(GOOD), None, "no run is published"),
        (EvaluatedRecogniser(None), None, "no run is published"),
        (
            EvaluatedRecogniser(GOOD),
            EvaluatedRecogniser(None),
            "the published run has no recogniser that this version can read",
        ),
        (
            EvaluatedRecogniser(None),
            EvaluatedRecogniser(None),
            "the published run has no recogniser that this version can read",
        ),
        (
            EvaluatedRecogniser(recogniser(CENTRES, evaluation=None), (1, 1)),
            EvaluatedRecogniser(GOOD),
            "the runs have neither Test images nor a cross-validation in common",
        ),
    ],
)
def test_nothing_to_compare_is_not_checked(
    run: EvaluatedRecogniser, published: EvaluatedRecogniser | None, reason: str
) -> None:
    check = _check(run, published, severity=Severity.ERROR)

    assert (check.passed, check.severity, check.saw) == (False, Severity.NOT_CHECKED, reason)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


def _report(run: Run, published: Published) -> tuple[Check, dict[str, Any]]:
    """Return the check and the figures of the validation."""
    report = run.validate(published=published, change=lambda audit: replace(audit, recogniser_drop=Severity.ERROR))
    (check,) = (check for check in report.checks if check.name == recogniser_drop.CHECK_NAME)
    return check, report.as_dict()["recogniser"]["change"]


def test_validation_compares_with_the_published_recogniser_on_the_same_images(run: Run) -> None:
    training = np.stack([row["features"] for row in run.rows if row["split"] == "Training"])
    refitted = fit(Moments.of(training[::2]), FAMILIES, k=2, explained_variance=None)
    other = recogniser({"Apple": (1, 0), "Lime": (-1, 0)}, refitted.version)
    expected = [
        max(other.recognise(refitted.project(np.stack([row["features"]]))[0], top=1))[0] == row["category"]
        for row in run.rows
        if row["split"] == "Test"
    ]

    for projection, before, accuracy in (
        (None, run.recogniser, None),
        (run.projection, run.recogniser, None),
        (refitted, other, sum(expected) / 6),
    ):
        check, change = _report(run, Published({}, projection, EvaluatedRecogniser(before, (1, 2))))

        assert (check.severity, change["basis"], change["images"]) == (Severity.ERROR, PAIRED, 6)
        assert change["before"] == pytest.approx(change["now"] if accuracy is None else accuracy, abs=1e-6)


def test_validation_compares_accuracies_if_the_published_recogniser_takes_other_features(run: Run) -> None:
    training = np.stack([row["features"] for row in run.rows if row["split"] == "Training"])
    width = total_dimension(("orb",))
    of_orb = fit(Moments.of(training[:, :width]), ("orb",), k=2, explained_variance=None)

    for projection, version, k in ((of_orb, of_orb.version, 2), (None, "lost", 2), (run.projection, "replaced", 2)):
        before = recogniser({"Apple": (1,) * k, "Lime": (-1,) * k}, version)
        _, change = _report(run, Published({}, projection, EvaluatedRecogniser(before, (1, 2))))

        assert (change["basis"], change["before"]) == (UNPAIRED, 0.5)


def test_published_recogniser_of_another_shape_is_not_applied(run: Run) -> None:
    before = recogniser({"Apple": (1, 0), "Lime": (-1, 0)}, run.projection.version)

    assert PairedRecognition.of(run.recogniser, run.projection, before, run.projection) is None


def test_figures_of_a_change_are_plain_and_rounded() -> None:
    change = Change.of(UNPAIRED, (90, 100), (60, 100))

    assert change is not None
    low, high = change.interval
    assert change.figures() == {
        "basis": UNPAIRED,
        "images": 100,
        "before": 0.9,
        "now": 0.6,
        "difference": -0.3,
        "low": round(low, 6),
        "high": round(high, 6),
        "is_drop": True,
    }
