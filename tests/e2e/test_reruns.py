"""Daily runs on one bucket: publications follow the images, and unchanged days create no cluster."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fruits_features import dataset
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.dev.local_aws.local import LocalAws

PARAMS = {"k": 4}
FIRST = "2026-05-01"


@pytest.fixture(scope="module")
def orchard(
    local_aws: LocalAws, airflow_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    """A bucket with a published run and the marker of a complete upload."""
    pipeline = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("rerun-orchard"), airflow_environment)
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 16), seed=0, jobs=1, progress=False)
    pipeline.put_folder(folder)
    pipeline.put("images/_SUCCESS", b"")
    run = pipeline.run(FIRST, marker="_SUCCESS", **PARAMS)
    assert run.ok, run.error
    return pipeline


def _events(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the extras of the asset's events for this bucket from Airflow's database."""
    database = Path(pipeline.environment["AIRFLOW_HOME"]) / "airflow.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT extra FROM asset_event ORDER BY id").fetchall()
    extras = [json.loads(extra) for (extra,) in rows]
    return [extra for extra in extras if extra.get("bucket") == pipeline.bucket]


def test_marker_is_no_image_and_the_run_is_announced(orchard: Pipeline) -> None:
    latest = orchard.latest()

    assert latest["counts"] == {"inventory": 16, "features": 16, "quarantine": 0}
    (event,) = _events(orchard)
    place = {"bucket": orchard.bucket, "dataset": "default"}
    assert event == {**place, **{name: latest[name] for name in event.keys() - place}}


def test_unchanged_day_is_skipped_without_a_cluster_or_event(orchard: Pipeline) -> None:
    latest, clusters, events = orchard.latest(), orchard.cluster_states(), _events(orchard)

    run = orchard.run("2026-05-02", marker="_SUCCESS", **PARAMS)

    assert run.ok, run.error
    assert f"Nothing has changed since run {latest['run']}" in run.log
    assert orchard.latest() == latest
    assert orchard.cluster_states() == clusters
    assert _events(orchard) == events


def test_changed_bucket_is_published_and_the_earlier_run_stays_readable(
    orchard: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, orchard.environment[name])
    before = orchard.latest()
    rows = dataset.open(f"s3://{orchard.bucket}").collect()
    keys = [entry["Key"] for entry in orchard.s3.list_objects_v2(Bucket=orchard.bucket, Prefix="images/")["Contents"]]
    removed, renamed = (key for key in keys[:2])
    content = orchard.get(f"s3://{orchard.bucket}/{renamed}")
    for key in (removed, renamed):
        orchard.s3.delete_object(Bucket=orchard.bucket, Key=key)
    orchard.put("images/Cherry/renamed.jpg", content)
    kept = replace(orchard, environment={**orchard.environment, "FRUITS_RETENTION_DAYS": "1"})

    run = kept.run("2026-05-03", marker="_SUCCESS", **PARAMS)

    assert run.ok, run.error
    paths = {path.rpartition(f"{orchard.bucket}/")[2] for path in orchard.table("features")["path"]}
    assert paths == {*keys, "images/Cherry/renamed.jpg"} - {removed, renamed, "images/_SUCCESS"}
    assert [event["run"] for event in _events(orchard)] == [before["run"], orchard.latest()["run"]]
    for selector in ({"run": before["run"]}, {"as_of": before["published_at"]}):
        assert dataset.open(f"s3://{orchard.bucket}", **selector).collect().equals(rows)


def test_example_downstream_counts_the_published_images(orchard: Pipeline) -> None:
    run = orchard.run("2026-05-04", dag_id="fruits_example_downstream")

    assert run.ok, run.error
    counts = orchard.table("features").group_by("category").len().sort("category")
    assert f"Images of the latest run: {dict(counts.iter_rows())}" in run.log
