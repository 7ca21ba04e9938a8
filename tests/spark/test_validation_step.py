"""The second step as a cluster starts it: Spark's workers measure a run's files, and Airflow judges the figures."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits_features.contract.arguments import Arguments
from fruits_features.contract.layout import RunLayout
from fruits_features.io.s3_access import open_filesystem
from fruits_features.job import run
from fruits_features.job.distribute import SerialRunner
from include.artifacts import bundle
from include.emr.requests import validate_step
from include.report import sample
from include.report.rows import Rows
from include.report.sample import Totals
from include.run_files import RunFiles, Table
from include.validation.audit import Audit, ValidationReport
from include.validation.cluster_figures import AGAIN, OF_FILES
from tests.spark.test_job import fill
from tests.support.buckets import Bucket

SETTINGS = {"spark.master": "local[2]", "spark.ui.enabled": "false"}


@pytest.fixture
def arguments(photos: Bucket) -> Arguments:
    """Arguments of a run in the bucket of the images, which has written its results."""
    fill(photos)
    root = f"s3://{photos.name}/runs/r"
    inventory = replace(photos, runs=photos.folder / "runs" / "r").inventory
    inventory(photos.entries())
    arguments = Arguments(bucket=photos.name, inventory=f"{root}/inventory", output=root, run="r", k=3)
    run.run(SerialRunner(), arguments)
    return arguments


def submit(arguments: Arguments, folder: Path, published: Mapping[str, str | None]) -> str:
    """Run the step of the DAG's request, from copies of the archives, and return its log."""
    built = bundle.build(bundle.application_folder())
    for artifact in built.values():
        (folder / artifact.name).write_bytes(artifact.content)
    uris = bundle.uris(built, f"{folder}/", "")
    command = validate_step(arguments, uris, published)["HadoopJarStep"]["Args"]
    command[0] = str(Path(sys.executable).with_name("spark-submit"))
    command[1:1] = [word for name, value in SETTINGS.items() for word in ("--conf", f"{name}={value}")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    result = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def validate(arguments: Arguments, photos: Bucket) -> ValidationReport:
    """Judge the figures that the step has written."""
    layout = RunLayout(arguments.output)
    place = photos.folder / "runs" / "r"

    def fetch(key: str, etag: str) -> bytes | None:
        data = (photos.folder / key).read_bytes()
        return data if md5(data).hexdigest() == etag else None  # noqa: S324 - S3's ETag

    audit = Audit(
        RunFiles(layout, open_filesystem(arguments.bucket)),
        arguments,
        fetch,
        recogniser=(place / "recogniser" / "recogniser.npz").read_bytes(),
        measured=(place / "validation" / "figures.npz").read_bytes(),
    )
    return audit.validate((place / "projection" / "projection.npz").read_bytes())


def test_workers_measure_a_run_and_airflow_judges_it(arguments: Arguments, photos: Bucket, tmp_path: Path) -> None:
    layout, place = RunLayout(arguments.output), photos.folder / "runs" / "r"
    published = {"projection": layout.portable_projection, "recogniser": layout.portable_recogniser}

    log = submit(arguments, tmp_path, published)
    report = validate(arguments, photos)

    assert "Done: measured 1 files of features/, and sampled 24 rows for the report" in log
    assert [str(check) for check in report.failed] == []
    assert report.counts == {"features": 24, "quarantine": 0, "inventory": 24}
    totals = Totals.of_dict(json.loads((place / "validation" / "report.json").read_text()))
    files = RunFiles(layout, open_filesystem(arguments.bucket))
    assert totals == sample.count(files)
    sampled, all_rows = (
        Rows.read(table, totals.images, 3) for table in (Table(layout.report_sample, files.filesystem), files.features)
    )
    assert sampled.names.equals(all_rows.names)
    assert np.array_equal(sampled.pca, all_rows.pca)

    features = place / "features" / "part-00000.parquet"
    rows = pq.read_table(features)
    pq.write_table(rows.set_column(3, rows.schema.field(3), pa.array([0] * 24, pa.int32())), features)
    changed = {check.name for check in validate(arguments, photos).failed}
    submit(arguments, tmp_path, published)
    broken = {check.name for check in validate(arguments, photos).failed}

    assert {OF_FILES, AGAIN} <= changed
    assert "features: width is at least 1" in broken
    assert not {OF_FILES, AGAIN} & broken
