"""The report's figures of the recogniser, compared with values computed by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from include.report.build import Inputs, Previous, build
from include.run_files import RunFiles
from include.validation.audit import Published
from include.validation.recogniser_drop import EvaluatedRecogniser
from tests.support import chosen_recognisers as recognisers
from tests.support.chosen_recognisers import EVALUATION, recogniser
from tests.support.report_runs import KNOWN, QUERIES, report
from tests.support.validation_runs import Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from include.report.build import Report
    from tests.support.report_runs import Place

SUBJECT = recogniser({"Apple": (1, 0), "Lime": (0, 1)})


def _report(folder: Path, places: Sequence[Place], *, evaluated: bool = True, **changes: Any) -> Report:  # noqa: ANN401
    """Return the report of a run with a recogniser."""
    validation = recognisers.figures(SUBJECT, places, asdict(EVALUATION) if evaluated else None)
    validation |= {"change": changes.pop("change", None)}
    return report(folder, places, recogniser=SUBJECT, validation={"checks": [], "recogniser": validation}, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return _report(tmp_path_factory.mktemp("run"), KNOWN + QUERIES)


def test_figures_are_plain_json(made: Report) -> None:
    assert json.loads(json.dumps(made.figures, allow_nan=False)) == made.figures


def test_accuracy_has_an_interval_for_each_split_and_the_cross_validation(made: Report) -> None:
    found = made.figures["recogniser"]

    assert {one["split"]: (one["right"], one["images"], one["accuracy"]) for one in found["accuracy"]} == {
        "Training": (4, 4, 1.0),
        "Test": (2, 4, 0.5),
    }
    test = next(one for one in found["accuracy"] if one["split"] == "Test")
    assert (test["low"], test["high"]) == (0.150039, 0.849961)  # binomtest(2, 4) of SciPy
    assert found["cross_validated"] == {
        "folds": 5,
        "images": 100,
        "right": 90,
        "accuracy": 0.9,
        "low": 0.825634,  # binomtest(90, 100)
        "high": 0.944771,
    }


def test_categories_that_were_not_in_training_are_named(made: Report) -> None:
    found = made.figures["recogniser"]

    assert found["not_learnt"] == ["Kiwi"]
    assert [(one["category"], one["right"], one["images"]) for one in found["by_category"]] == [
        ("Apple", 1, 2),
        ("Kiwi", 0, 1),
        ("Lime", 1, 1),
    ]


def test_confusions_show_the_surest_image_and_the_nearest_training_image_of_the_guess(made: Report) -> None:
    pairs = {(one["category"], one["guess"]): one for one in made.figures["recogniser"]["confusions"]}

    assert set(pairs) == {("Apple", "Lime"), ("Kiwi", "Lime")}
    apple = pairs["Apple", "Lime"]
    assert (apple["images"], apple["of"]) == (1, 2)
    assert (apple["path"][-5:], apple["nearest"][-5:]) == ("5.jpg", "3.jpg")
    assert apple["probability"] == 0.7109  # of the logits 0.1 - 0.5 and 1 - 0.5: 1 / (1 + exp(-0.9))


def test_confusion_without_a_sampled_image_has_no_picture(tmp_path: Path) -> None:
    validation = recognisers.figures(SUBJECT, KNOWN + QUERIES, None)
    validation["splits"]["Test"]["confusions"] = [["Lime", "Apple", 1]]  # of an image that is not in the sample

    made = report(tmp_path, KNOWN + QUERIES, recogniser=SUBJECT, validation={"checks": [], "recogniser": validation})

    assert [one["path"] for one in made.figures["recogniser"]["confusions"]] == [None]
    assert "no picture" in made.html.decode()


def test_calibration_is_that_of_test(made: Report) -> None:
    found = made.figures["recogniser"]["calibration"]

    assert found["images"] == 4
    assert [one["accuracy"] for one in found["bins"]] == [1.0, 0.0, 0.0, 1.0]  # of sureness 0.71, 0.71, 0.73, 0.88
    assert all(one["low"] <= one["accuracy"] <= one["high"] for one in found["bins"])


def test_without_test_the_cross_validation_is_shown(tmp_path: Path) -> None:
    made = _report(tmp_path, KNOWN)
    found = made.figures["recogniser"]

    assert (found["split"], found["by_category"], found["confusions"]) == (None, [], [])
    assert found["calibration"]["error"] == EVALUATION.calibration_error
    assert "100 images are recognised in the cross-validation" in made.html.decode()


def test_without_test_and_cross_validation_there_is_no_calibration(tmp_path: Path) -> None:
    made = _report(tmp_path, KNOWN, evaluated=False)

    assert made.figures["recogniser"]["calibration"] is None
    assert "Calibration" not in made.html.decode()


def test_run_without_a_recogniser_says_why(tmp_path: Path) -> None:
    made = report(tmp_path, KNOWN, no_recogniser="It needs two categories.")

    assert (made.figures["recogniser"], made.figures["no_recogniser"]) == (None, "It needs two categories.")
    assert "This run has no recogniser. It needs two categories." in made.html.decode()


def test_run_without_splits_is_fitted_on_all_images(tmp_path: Path) -> None:
    made = _report(tmp_path, [(None, category, components) for _, category, components in KNOWN])

    text = " ".join(made.html.decode().split())
    assert [one["split"] for one in made.figures["recogniser"]["accuracy"]] == ["all"]
    assert "of 100 images are recognised in the cross-validation" in text
    assert "fitted on 4 images of 2 categories" in text
    assert "Without a split, on which it was fitted" in text


def test_report_shows_what_the_validation_found(tmp_path: Path) -> None:
    run = Run(tmp_path)
    published = Published({}, run.projection, EvaluatedRecogniser(run.recogniser))
    validation = json.loads(json.dumps(run.validate(published=published).as_dict()))
    files = RunFiles(run.layout, SubTreeFileSystem(str(tmp_path), LocalFileSystem()))

    inputs = Inputs("r", files, run.projection, validation, fetch=lambda _key: None, recogniser=run.recogniser)
    found = build(inputs).figures["recogniser"]

    of_test = validation["recogniser"]["splits"]["Test"]
    assert [(one["split"], one["images"]) for one in found["accuracy"]] == [("Test", 6), ("Training", 18)]
    assert found["accuracy"][0]["right"] == of_test["right"]
    assert found["cross_validated"]["images"] == 18
    assert sum(one["images"] for one in found["confusions"]) == 6 - of_test["right"]
    assert all(one["path"] and one["nearest"] for one in found["confusions"])
    assert found["change"]["difference"] == 0


def test_comparison_of_runs_has_the_accuracy_of_both_recognisers(tmp_path: Path, made: Report) -> None:
    compared = _report(tmp_path, KNOWN, previous=Previous({"run": "q"}, made.figures)).figures["comparison"]

    assert {"figure": "recogniser", "before": 0.5, "now": None} in compared["figures"]
