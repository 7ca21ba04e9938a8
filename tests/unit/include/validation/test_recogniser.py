"""The recogniser is fitted again and applied to the rows: a replaced or changed one is found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fruits_features.recogniser import calibration
from fruits_features.recogniser.fit import ComponentSums
from fruits_features.recogniser.sample import TrainingImages
from include.validation import recogniser_checks
from include.validation.recogniser_checks import CATEGORIES, READABLE, REFIT, CategoryMeans
from tests.support.bit_flips import flip_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from fruits_features.recogniser.model import Recogniser
    from include.validation.audit import ValidationReport
    from tests.support.validation_runs import Run


def recogniser_of(run: Run) -> Recogniser:
    assert run.recogniser is not None
    return run.recogniser


def failed(report: ValidationReport) -> list[str]:
    return [check.name for check in report.failed]


def test_figures_count_the_right_answers_of_each_split(run: Run) -> None:
    report = run.validate()
    recogniser, splits = recogniser_of(run), report.recogniser["splits"]

    assert failed(report) == []
    assert report.recogniser["evaluation"]["images"] == 18
    assert report.as_dict()["recogniser"]["categories"] == 2
    for split, images in (("Training", 18), ("Test", 6)):
        rows = [row for row in run.rows if row["split"] == split]
        probabilities = recogniser.probabilities(np.array([row["pca"] for row in rows], np.float32))
        labels = np.array([recogniser.categories.index(row["category"]) for row in rows])
        right = probabilities.argmax(axis=1) == labels
        figures = splits[split]
        assert (figures["images"], figures["right"], figures["unknown"]) == (images, right.sum(), 0)
        assert figures["log_loss"] == pytest.approx(-np.log(probabilities[np.arange(len(rows)), labels]).mean())
        assert sum(part["images"] for part in figures["bins"]) == images
        assert figures["calibration_error"] == pytest.approx(
            calibration.calibration_error(calibration.calibration_bins(probabilities.max(axis=1), right))
        )
        assert sum(count for *_, count in figures["confusions"]) == images - right.sum()
        assert sum(count for count, _ in figures["categories"].values()) == images
        assert sum(count for _, count in figures["categories"].values()) == right.sum()


def test_figures_do_not_depend_on_the_number_of_probabilities_in_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run.validate().recogniser["splits"]
    monkeypatch.setattr("include.validation.recognition._MAX_PROBABILITIES", 6)
    split = run.validate().recogniser["splits"]["Training"]

    assert split["categories"] == expected["Training"]["categories"]
    assert split["log_loss"] == pytest.approx(expected["Training"]["log_loss"])


def change(**changes: Callable[[Recogniser], object]) -> Callable[[Run], None]:
    def apply(run: Run) -> None:
        recogniser = recogniser_of(run)
        run.recogniser = replace(recogniser, **{name: value(recogniser) for name, value in changes.items()})

    return apply


def remove(run: Run) -> None:
    run.recogniser = None


MUTATIONS: dict[str, tuple[Callable[[Run], None], str]] = {
    "none": (remove, READABLE),
    "of another projection": (change(projection=lambda _: "0123456789ab"), "recogniser: version of the projection"),
    "of fewer components": (change(weights=lambda one: one.weights[:-1]), "recogniser: number of components"),
    "of another category": (change(categories=lambda _: ("Apple", "Mango")), CATEGORIES),
    "of more images": (change(images=lambda one: (one.images[0], one.images[1] + 1)), CATEGORIES),
    "with a changed weight": (change(weights=lambda one: one.weights * [[1], [1], [1.001]]), REFIT),
    "with a changed offset": (change(bias=lambda one: one.bias * [1, 1.001]), REFIT),
    "with swapped categories": (change(weights=lambda one: one.weights[:, ::-1]), REFIT),
    "with another temperature": (change(temperature=lambda one: 1.1 * one.temperature), REFIT),
    "with another shrinkage": (change(shrinkage=lambda one: one.shrinkage / 2), REFIT),
}


@pytest.mark.parametrize(("mutate", "check"), MUTATIONS.values(), ids=MUTATIONS)
def test_other_recogniser_fails_the_check_meant_for_it(run: Run, mutate: Callable[[Run], None], check: str) -> None:
    mutate(run)

    assert failed(run.validate()) == [check]


def test_rows_of_another_category_than_trained_on_fail(run: Run) -> None:
    training = [row for row in run.rows if row["split"] == "Training"]
    one, other = (next(row for row in training if row["category"] == name) for name in ("Apple", "Lime"))
    one["category"], other["category"] = other["category"], one["category"]
    run.write()

    assert REFIT in failed(run.validate())


def test_every_flipped_bit_fails(run: Run) -> None:
    for place, flipped in flip_bits(recogniser_of(run).to_bytes(), 24, seed=3):
        report = run.validate(change=lambda audit, flipped=flipped: replace(audit, recogniser=flipped))
        assert failed(report) == [READABLE], place
        assert report.recogniser == {}


def test_category_that_is_only_in_test_is_counted_as_unknown(run: Run) -> None:
    tested = [row for row in run.rows if row["split"] == "Test"]
    tested[0]["category"] = tested[1]["category"] = "Quince"
    run.write()
    report = run.validate()
    figures = report.recogniser["splits"]["Test"]

    assert not [name for name in failed(report) if name.startswith("recogniser")]
    assert (figures["images"], figures["unknown"]) == (6, 2)
    assert figures["categories"]["Quince"] == [2, 0]


def test_run_of_one_training_category_needs_no_recogniser(run: Run) -> None:
    for row in run.rows:
        row["category"] = "Apple"
    run.recogniser = None
    run.write()
    report = run.validate()

    assert not [name for name in failed(report) if name.startswith("recogniser")]
    assert READABLE in [check.name for check in report.not_checked]


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_repeated_fit_equals_the_application_fit(batch: int, noise: float) -> None:
    random = np.random.default_rng(9)
    code = np.sort(random.integers(0, 5, 90)).astype(np.int32)
    means = 5 + random.normal(size=(5, 6))
    components = (means[code] + noise * random.normal(size=(90, 6))).astype(np.float32)
    names = ("a", "b", "c", "d", "e")
    sums = ComponentSums.of(components, code, TrainingImages.of(len(names), code).sample)
    recogniser = calibration.fit(sums, names, "0123456789ab")
    repeated = CategoryMeans()
    for start in range(0, 90, batch):
        rows = slice(start, start + batch)
        repeated = repeated.merge(CategoryMeans.of(components[rows], np.array(names)[code[rows]]))

    fitted = repeated.fit(recogniser.shrinkage, recogniser.temperature)

    expected = np.vstack([recogniser.weights, recogniser.bias])
    assert np.abs(fitted - expected).max() < recogniser_checks.TOLERANCE * np.abs(expected).max() / 100
