"""The application as a cluster starts it: spark-submit, archive, launcher, exit codes and the last line of stderr."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pyarrow.parquet as pq
import pytest

from fruits_features import __main__
from fruits_features.contract.arguments import InvalidArgumentsError
from fruits_features.extraction.families.onnx import ModelError
from tests.spark.test_job import fill
from tests.support.buckets import Bucket

SPARK_APPS = Path(__file__).parents[2] / "spark_apps"


@pytest.fixture
def submit(tmp_path: Path, s3_folder: Path):  # noqa: ANN201, ARG001 - s3_folder sets the environment
    """Submit the application from copies outside the checkout."""
    archive = shutil.make_archive(str(tmp_path / "fruits_features"), "zip", SPARK_APPS, "fruits_features")
    launcher = shutil.copy(SPARK_APPS / "launch.py", tmp_path)
    program = Path(sys.executable).with_name("spark-submit")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [program, "--master", "local[2]", "--conf", "spark.ui.enabled=false", "--py-files", archive, launcher]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
        )

    return run


def places(photos: Bucket) -> list[str]:
    output = photos.runs / "run"
    return [f"--bucket={photos.name}", f"--inventory={photos.inventory()}", f"--output={output}", "--run=run"]


def test_submitted_application_exits_with_0_and_leaves_its_features(submit, photos: Bucket) -> None:  # noqa: ANN001
    fill(photos)

    result = submit(*places(photos), "--k=3")

    assert result.returncode == 0, result.stderr
    assert pq.read_table(photos.runs / "run" / "features").num_rows == 24


def test_submitted_application_that_fails_exits_with_1_and_one_error_line(submit, photos: Bucket) -> None:  # noqa: ANN001
    result = submit(*places(photos))

    assert result.returncode == 1
    (message,) = [line for line in result.stderr.splitlines() if line.startswith("fruits_features: error: ")]
    assert message.startswith("fruits_features: error: The inventory ")


def test_bad_arguments_exit_with_2_before_spark_starts(photos: Bucket) -> None:
    command = [sys.executable, "-m", "fruits_features", *places(photos), "--k=1000"]

    result = subprocess.run(command, cwd=SPARK_APPS, check=False, capture_output=True, text=True)

    assert result.returncode == 2
    assert result.stderr == (
        "fruits_features: error: --k is 1000, but the families orb,color,texture,contrast have 843 features; "
        "give a k from 1 to 843.\n"
    )


@pytest.mark.parametrize(("error", "code"), [(ModelError("No model."), 1), (InvalidArgumentsError("No k."), 2)])
def test_error_ends_the_run_with_its_exit_code(
    error: Exception, code: int, photos: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(__main__, "_run", Mock(side_effect=error))

    assert __main__.main(places(photos)) == code
