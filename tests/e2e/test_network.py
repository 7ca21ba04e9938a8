"""A run with the network that ships publishes embeddings, and a file for an app that recognises its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnxruntime
import polars as pl
import pytest

from fruits_features.contract.families import DEFAULT_FAMILIES, total_dimension
from fruits_features.projection import load
from include.artifacts import shipped_model
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.dev.local_aws.local import LocalAws

EMBEDDING = 1280


@pytest.fixture(scope="module")
def orchard(
    local_aws: LocalAws, airflow_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    """A bucket with a published run, for which the family `onnx` was added to the default ones in the form."""
    pipeline = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("network-orchard"), airflow_environment)
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana", "Cherry 1"], 48), seed=0, jobs=1, progress=False)
    pipeline.put_folder(folder)
    run = pipeline.run("2026-11-01", features=[*DEFAULT_FAMILIES, "onnx"])
    assert run.ok, run.error
    return pipeline


def test_run_has_embeddings_and_passes_all_checks(orchard: Pipeline) -> None:
    features, record = orchard.table("features"), orchard.record()

    assert features["features"].list.len().unique().to_list() == [total_dimension(DEFAULT_FAMILIES) + EMBEDDING]
    checks = {check["name"]: check for check in record["checks"]}
    assert checks["sample: images extracted again equal their rows"]["passed"]
    assert {name: check["severity"] for name, check in checks.items() if not check["passed"]} == {
        "drift: comparison with the published run": "not checked",
        "quarantine: values of all columns": "not checked",  # it is empty
        "recogniser: accuracy against the published run": "not checked",
    }


def test_projection_names_the_network_that_ships(orchard: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, orchard.environment[name])

    projection = load(orchard.latest()["paths"]["projection"])
    row = orchard.table("features").row(0, named=True)

    assert projection.model is not None
    assert projection.model.sha256 == shipped_model.SHA256
    np.testing.assert_allclose(projection.embed(orchard.get(row["path"])), row["pca"], rtol=1e-4, atol=1e-4)


def test_app_recognises_training_images(orchard: Pipeline) -> None:
    folder = orchard.latest()["paths"]["projection"].rpartition("/projection/")[0]
    session = onnxruntime.InferenceSession(orchard.get(f"{folder}/recogniser/app.onnx"))
    training = orchard.table("features").filter(pl.col("split") == "Training")

    right = 0
    for path, category in training.select("path", "category").iter_rows():
        data = np.frombuffer(orchard.get(path), np.uint8)
        probabilities, categories = session.run(None, {"image": cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)})
        right += categories[probabilities.argmax()] == category

    assert right >= 0.9 * training.height
    assert session.get_modelmeta().custom_metadata_map["license"] == "Apache-2.0"
