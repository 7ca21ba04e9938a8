"""The application in one process gives the rows that it gives on Spark, and ends with the process that started it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto
from onnxruntime import InferenceSession

from fruits_features import __main__
from fruits_features.cache import compaction
from fruits_features.extraction import batches
from fruits_features.job import distribute, inventory, run
from fruits_features.job.distribute import SerialRunner
from fruits_features.output import snapshot
from fruits_features.recogniser.model import load
from tests.support import onnx_models
from tests.support.app_models import picture
from tests.support.deadly_decoder import sitecustomize as deadly_decoder
from tests.support.recognisers import assert_equal
from tests.support.small_runs import Files, Images, Runs, photograph

CATEGORIES = ("Apple", "Lime", "Plum")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of twelve images, and a damaged one."""
    images = Images()
    monkeypatch.setattr(batches, "open_bucket", lambda *_: images)
    for number in range(12):
        images.put(f"images/Training/{CATEGORIES[number % 3]}/{number}.png", photograph(number))
    images.put("images/Training/Lime/text.png", b"no image at all")
    return Runs(tmp_path, images)


def test_rerun_without_spark_has_the_rows_of_one_with_spark(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "IMAGES_PER_PARTITION", 5)  # several partitions
    monkeypatch.setattr(snapshot, "MIN_SELECTION_ROWS", 2)
    monkeypatch.setattr(compaction, "MAX_SEGMENTS", 1)
    runs.run("monday")
    stages = list(runs.stages)
    for number in range(100, 112):
        runs.images.put(f"images/Training/Lime/{number}.png", photograph(number))

    outcome = run.run(SerialRunner(), runs.arguments("tuesday"))

    assert (outcome.inventoried, outcome.quarantined, outcome.reused) == (25, 1, 13)
    assert runs.stages == stages
    runs.run("with spark", store=None)
    assert runs.table("tuesday").drop(["pca"]) == runs.table("with spark").drop(["pca"])
    assert runs.table("tuesday", "quarantine") == runs.table("with spark", "quarantine")
    assert run.run(SerialRunner(), runs.arguments("wednesday")).reused == 25


def test_image_that_crashes_the_decoder_without_spark_is_quarantined_alone(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.images.put("images/Training/Lime/deadly.png", photograph(100) + deadly_decoder.MARK)
    monkeypatch.setenv("PYTHONPATH", str(Path(deadly_decoder.__file__).parent))

    outcome = run.run(SerialRunner(), runs.arguments("monday"))

    assert (outcome.inventoried, outcome.quarantined) == (14, 2)
    assert sorted(runs.table("monday", "quarantine")["reason"].to_pylist()) == ["decoder_crash", "not_an_image"]


def test_recogniser_without_spark_is_the_one_with_spark(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribute, "SparkFiles", Files)
    network = tmp_path / "net.onnx"
    network.write_bytes(onnx_models.model(onnx_models.NHWC, TensorProto.UINT8))
    published = runs.layout("published").portable_projection
    with_network = {"features": ("color", "onnx"), "onnx_model": str(network)}
    runs.run("published", **with_network)
    runs.images.put("images/Training/Lime/new.png", photograph(100))
    kept = {**with_network, "refit": "never", "published": published}

    without_spark = run.run(SerialRunner(), runs.arguments("without", **kept))
    with_spark = runs.run("with", **kept, store=None)

    layouts = [runs.layout(name) for name in ("with", "without")]
    assert (without_spark.reused, with_spark.reused) == (13, 0)
    files = [sorted(path.name for path in Path(layout.recogniser).iterdir()) for layout in layouts]
    assert files[0] == files[1] == ["app.onnx", "model_card.md", "recogniser.npz"]
    one, other = (load(layout.portable_recogniser) for layout in layouts)
    assert_equal(one, other)
    apps = [InferenceSession(layout.app_model).run(None, {"image": picture(60, 40)}) for layout in layouts]
    assert apps[0][0] == pytest.approx(apps[1][0], abs=1e-4)
    assert apps[0][1].tolist() == apps[1][1].tolist() == ["Apple", "Lime", "Plum"]


def test_run_from_scratch_works_too_if_the_cache_was_deleted_meanwhile(runs: Runs) -> None:
    outcome = run.run(SerialRunner(), runs.arguments("monday"))

    assert (outcome.inventoried, outcome.quarantined, outcome.reused) == (13, 1, 0)


@pytest.mark.parametrize(("new_below", "code"), [(13, 3), (14, 0)])
def test_run_with_more_new_images_than_were_counted_ends_before_it_extracts_them(
    new_below: int, code: int, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.arguments("monday").to_argv()

    assert __main__.main(argv, lambda given: run.run(SerialRunner(new_below), given)) == code

    said = "13 images are new, and a run without a cluster extracts fewer than 13. The feature cache has lost images"
    assert (said in capsys.readouterr().err) == bool(code)
    assert any(Path(runs.store).rglob("*.parquet")) == (not code)


def test_error_ends_with_the_line_of_the_application(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = runs.arguments("monday", max_quarantine_share=0.0)

    assert __main__.main(arguments.to_argv(), lambda given: run.run(SerialRunner(), given)) == 1
    assert "fruits_features: error: 1 of 13 images were quarantined" in capsys.readouterr().err.splitlines()[-1]


def test_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an S3 that never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r", "AWS_ENDPOINT_URL_S3": url}
        command = [sys.executable, "-m", "fruits_features.without_spark", "--", "--bucket=b", "--run=r"]
        command += ["--inventory=s3://b/i", f"--output={tmp_path}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | keys) as process:
            silent.accept()[0].close()  # it has started
            assert process.poll() is None
            assert process.stdin
            process.stdin.close()
            try:
                assert process.wait(60) == 1
            finally:
                process.kill()
