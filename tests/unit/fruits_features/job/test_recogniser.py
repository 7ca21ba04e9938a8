"""The recogniser that a run publishes. All runs are complete runs in this process, without Spark."""

from pathlib import Path

import pytest

from fruits_features.extraction import batches
from fruits_features.job import run
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Recogniser, load
from tests.support.recognisers import assert_equal, fitted_on
from tests.support.small_runs import Images, Runs, Silent, in_process, photograph


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of photographs of two categories for training and of three for the test."""
    images = Images()
    monkeypatch.setattr(batches, "open_bucket", lambda *_: images)
    monkeypatch.setattr(batches, "SubprocessPool", in_process)
    monkeypatch.setattr(run, "ProgressListener", Silent)
    for number in range(12):
        images.put(f"images/Training/{('Apple', 'Lime')[number % 2]}/{number}.png", photograph(number))
        images.put(f"images/Test/{('Apple', 'Lime', 'Quince')[number % 3]}/{number}.png", photograph(50 + number))
    return Runs(tmp_path, images)


def recogniser_of(runs: Runs, name: str) -> Recogniser:
    return load(runs.layout(name).portable_recogniser)


def test_recogniser_is_that_of_the_published_training_rows(runs: Runs) -> None:
    outcome = runs.run("monday")
    recogniser = recogniser_of(runs, "monday")

    assert_equal(recogniser, fitted_on(runs.table("monday").to_pylist(), outcome.projection))
    assert recogniser.categories == ("Apple", "Lime")
    assert recogniser.images == (6, 6)
    assert recogniser.evaluation is not None
    assert outcome.recogniser is not None
    assert (outcome.recogniser.categories, outcome.recogniser.accuracy) == (2, recogniser.evaluation.accuracy)
    assert outcome.why_no_recogniser is None


def test_rerun_from_the_cache_has_the_same_recogniser(runs: Runs) -> None:
    runs.run("monday")
    runs.run("tuesday", refit="never", published=runs.layout("monday").portable_projection)

    assert runs.stages.count("extract features") == 1
    assert_equal(recogniser_of(runs, "tuesday"), recogniser_of(runs, "monday"))


def test_recogniser_belongs_to_the_kept_projection(runs: Runs) -> None:
    published = runs.run("monday")
    for number in range(8):
        runs.images.put(f"images/Training/Mango/{number}.png", photograph(200 + number))
    outcome = runs.run("tuesday", refit="never", published=runs.layout("monday").portable_projection)
    recogniser = recogniser_of(runs, "tuesday")

    assert outcome.projection == published.projection == recogniser.projection
    assert recogniser.categories == ("Apple", "Lime", "Mango")
    assert_equal(recogniser, fitted_on(runs.table("tuesday").to_pylist(), outcome.projection))


def test_all_images_are_trained_on_without_splits(runs: Runs) -> None:
    entries = [entry | {"split": None} for entry in runs.images.inventory()]
    outcome = runs.run("monday", entries)

    assert recogniser_of(runs, "monday").categories == ("Apple", "Lime", "Quince")
    assert_equal(recogniser_of(runs, "monday"), fitted_on(runs.table("monday").to_pylist(), outcome.projection, None))


def test_new_photograph_is_recognised(runs: Runs) -> None:
    runs.run("monday", k=8)
    layout, photo = runs.layout("monday"), runs.images.objects["images/Training/Lime/1.png"].data
    components = Projection.from_bytes(Path(layout.portable_projection).read_bytes()).embed(photo)

    guesses = recogniser_of(runs, "monday").recognise(components)

    assert guesses[0][0] == "Lime"
    assert sum(probability for _, probability in guesses) == pytest.approx(1)


def test_run_with_one_training_category_has_no_recogniser_and_says_why(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    runs.run("monday")
    entries = [entry for entry in runs.images.inventory() if "Training/Lime" not in str(entry["key"])]
    outcome = runs.run("monday", entries)

    assert not Path(runs.layout("monday").portable_recogniser).exists()
    assert not Path(runs.layout("monday").model_card).exists()
    assert outcome.recogniser is None
    assert outcome.why_no_recogniser == "It needs training images of at least 2 categories (found: Apple)."
    assert f"The run has no recogniser. {outcome.why_no_recogniser}" in caplog.text


def test_model_card_names_data_method_and_evaluation(runs: Runs) -> None:
    yaml = pytest.importorskip("yaml")
    runs.run("monday")
    evaluation = recogniser_of(runs, "monday").evaluation
    _, front, text = Path(runs.layout("monday").model_card).read_text().split("---\n", 2)

    (entry,) = yaml.safe_load(front)["model-index"]
    (result,) = entry["results"]

    assert evaluation is not None
    assert entry["name"] == "monday on fruits"
    assert result["metrics"][0] == {"type": "accuracy", "value": round(evaluation.accuracy, 4)}
    assert "12 images of `s3://fruits`" in text
    assert f"accuracy {evaluation.accuracy:.3f}" in text
