"""The recogniser that a run publishes. All runs are complete runs in this process, without Spark."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto
from onnxruntime import InferenceSession

from fruits_features.io import arrow
from fruits_features.io.vectors import as_matrix
from fruits_features.job import distribute
from fruits_features.projection import Projection
from fruits_features.projection import load as load_projection
from fruits_features.recogniser.model import Recogniser, load
from tests.support import onnx_models
from tests.support.recognisers import assert_equal, fitted_on
from tests.support.small_runs import Files, Images, Runs, photograph, run_in_process


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of photographs of two categories for training and of three for the test."""
    images = Images()
    run_in_process(monkeypatch, images)
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


@pytest.fixture
def with_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Arguments of a run with a small model beside another family."""
    monkeypatch.setattr(distribute, "SparkFiles", Files)
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_models.model(onnx_models.NHWC, TensorProto.UINT8))
    return {"features": ("color", "onnx"), "onnx_model": str(path), "k": 4}


def test_app_has_the_recogniser_of_the_embeddings_alone(runs: Runs, with_network: dict[str, object]) -> None:
    runs.run("monday", **with_network)
    layout, photo = runs.layout("monday"), runs.images.objects["images/Test/Lime/1.png"].data
    projection = load_projection(layout.portable_projection)
    part, rows = projection.part("onnx"), runs.table("monday")
    embeddings = as_matrix(arrow.combine_chunks(rows["features"]))[:, projection.columns("onnx")]
    components = part.project(embeddings)
    app_rows = [row | {"pca": pca} for row, pca in zip(rows.to_pylist(), components, strict=True)]
    wanted = fitted_on(app_rows, part.version)

    session = InferenceSession(layout.app_model)
    image = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR_RGB)
    probabilities, categories = session.run(None, {"image": image})

    assert probabilities == pytest.approx(wanted.probabilities(part.embed(photo)[np.newaxis])[0], abs=1e-3)
    assert tuple(categories) == wanted.categories == recogniser_of(runs, "monday").categories
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["run"], metadata["projection"]) == ("monday", projection.version)
    assert wanted.evaluation is not None
    assert metadata["cross_validated_accuracy"] == f"{wanted.evaluation.accuracy:.3f}"


def test_part_of_each_family_adds_up_to_the_projection(runs: Runs, with_network: dict[str, object]) -> None:
    runs.run("monday", **with_network)
    projection = load_projection(runs.layout("monday").portable_projection)
    photo = runs.images.objects["images/Test/Lime/1.png"].data

    parts = [projection.part(name).embed(photo) for name in projection.families]

    assert sum(parts) == pytest.approx(projection.embed(photo), abs=1e-4)


def test_run_without_network_writes_no_app(runs: Runs) -> None:
    runs.run("monday")

    assert not Path(runs.layout("monday").app_model).exists()


@pytest.mark.parametrize("missing", ["onnx", "opset"])
def test_run_with_a_network_that_no_app_can_have_says_why(
    missing: str,
    runs: Runs,
    with_network: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    why = "The ONNX model uses version 11 of the operators"
    if missing == "onnx":
        monkeypatch.delitem(sys.modules, "fruits_features.recogniser.app_model", raising=False)
        monkeypatch.delattr("fruits_features.recogniser.app_model", raising=False)
        monkeypatch.setitem(sys.modules, "onnx", None)
        why = "import of onnx halted"
    else:
        Path(str(with_network["onnx_model"])).write_bytes(onnx_models.model_of_old_operators())

    outcome = runs.run("monday", **with_network)

    assert outcome.recogniser is not None
    assert not Path(runs.layout("monday").app_model).exists()
    assert "app.onnx is not written" in caplog.text
    assert why in caplog.text


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
    assert f"{evaluation.folds} folds that keep similar images of a category together" in text
    assert f"accuracy {evaluation.accuracy:.3f}" in text
