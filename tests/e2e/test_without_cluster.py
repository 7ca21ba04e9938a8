"""Reruns with few new images run on the worker without a cluster. If that is not possible, they create one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import polars as pl
import pytest

from include.dev.local_aws.s3.fault_proxy import Fault, S3FaultProxy
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.faults import WORKER_FAULTS, Case
from tests.support.airflow.forks import start_in_fork
from tests.support.airflow.pipeline import RUN_TIMEOUT_S, DagRun, Pipeline
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

PARAMS = {"k": 3}
IMAGES = 32


@pytest.fixture(scope="module")
def orchard(
    local_aws: LocalAws, airflow_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    """A bucket with a published run, which a cluster has extracted, and the default of `FRUITS_NO_CLUSTER_BELOW`."""
    environment = {name: value for name, value in airflow_environment.items() if name != "FRUITS_NO_CLUSTER_BELOW"}
    pipeline = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("little"), environment)
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], IMAGES), seed=0, jobs=1, progress=False)
    pipeline.put_folder(folder)
    run = pipeline.run("2026-07-01", **PARAMS)
    assert run.ok, run.error
    assert pipeline.cluster_states() == [("TERMINATED", "USER_REQUEST")]
    return pipeline


@pytest.mark.parametrize("dated", list(enumerate(WORKER_FAULTS, 2)), ids=[case.injected for case in WORKER_FAULTS])
def test_little_is_processed_on_the_worker_or_on_a_cluster(
    dated: tuple[int, Case], orchard: Pipeline, tmp_path: Path
) -> None:
    day, case = dated
    date, before, clusters = f"2026-07-{day:02}", orchard.published(), len(orchard.cluster_states())
    generate(tmp_path, make_plan(["Avocado"], 4), seed=day, jobs=1, progress=False)
    image = next(tmp_path.rglob("*.jpg"))
    orchard.put(f"images/Training/Cherry/{day}.jpg", image.read_bytes())
    params = dict(PARAMS)
    if case.injected == "feature cache is damaged":
        _damage_cache(orchard)
    if case.injected == "application fails on the worker":
        orchard.put("images/Training/Cherry/text.jpg", b"no image at all")
        params["max_quarantine_share"] = 0

    deployment = replace(orchard, environment={**orchard.environment, **case.settings})
    if case.injected == "feature cache is deleted after the count":
        run = _run_and_delete_cache(deployment, date, tmp_path / "run.log")
    else:
        run = deployment.run(date, **params)

    assert run.ok == case.succeeds, run.error
    assert [text for text in case.messages if text not in run.log] == []
    assert tuple(state for state, _ in orchard.cluster_states()[clusters:]) == case.clusters
    assert orchard.aws.active_clusters() == []
    if not case.succeeds:
        assert orchard.published() == before
        assert orchard.run(date, **PARAMS).ok
    after = orchard.published()
    assert after["run"] != before["run"]
    paths = set(orchard.table("features")["path"])
    assert f"s3://{orchard.bucket}/images/Training/Cherry/{day}.jpg" in paths
    assert len(paths) == before["counts"]["features"] + 1
    cost = orchard.record()["cost"]
    assert (cost["actual"]["dollars"] == 0) == (not case.clusters)
    assert (cost["estimate"]["dollars"] == 0) == (not case.clusters)


def _run_and_delete_cache(orchard: Pipeline, date: str, log: Path) -> DagRun:
    """Run the DAG, and delete the feature cache when the cluster has been planned."""
    log.touch()
    process = start_in_fork(orchard.command(date, **PARAMS), orchard.environment, log)
    wait_for(lambda: "images are new: no cluster" in log.read_text() or not process.is_alive())
    for key in _cache(orchard):
        orchard.s3.delete_object(Bucket=orchard.bucket, Key=key)
    process.join(RUN_TIMEOUT_S)
    assert process.exitcode is not None
    return DagRun(process.exitcode, log.read_text())


def _cache(orchard: Pipeline) -> list[str]:
    """Return the keys of the feature cache."""
    listed = orchard.s3.list_objects_v2(Bucket=orchard.bucket, Prefix="features/described/")["Contents"]
    return [entry["Key"] for entry in listed]


def _damage_cache(orchard: Pipeline) -> None:
    """Change a byte of each index of the feature cache."""
    for key in (key for key in _cache(orchard) if "/index-" in key):
        content = orchard.get(f"s3://{orchard.bucket}/{key}")
        orchard.put(key, content[:20] + bytes([content[20] ^ 1]) + content[21:])


def test_archived_images_keep_their_features_and_stop_no_run(orchard: Pipeline, tmp_path: Path) -> None:
    before = orchard.published()
    generate(tmp_path, make_plan(["Avocado"], 4), seed=100, jobs=1, progress=False)
    new, archived = (f"images/Training/Cherry/{name}.jpg" for name in ("new", "archived"))
    for key, image in zip((new, archived), tmp_path.rglob("*.jpg"), strict=False):
        orchard.put(key, image.read_bytes())
    server = urlsplit(orchard.environment["AWS_ENDPOINT_URL_S3"])
    with S3FaultProxy(
        (str(server.hostname), int(server.port or 0)),
        faults=lambda request: (
            Fault.ARCHIVED
            if request.method == "GET" and "/images/" in request.target and not request.target.endswith(new)
            else None
        ),
    ) as proxy:
        run = replace(orchard, environment={**orchard.environment, "AWS_ENDPOINT_URL_S3": proxy.url}).run(
            "2026-07-20", **PARAMS
        )

    assert run.ok, run.error
    assert "is left out. The object is archived (InvalidObjectState)." in run.log
    latest = orchard.published()
    assert latest["counts"]["features"] == before["counts"]["features"] + 1
    (refused,) = orchard.table("quarantine").filter(pl.col("reason") == "forbidden").to_dicts()
    assert refused["path"] == f"s3://{orchard.bucket}/{archived}"
    assert refused["detail"].startswith("The object is archived (InvalidObjectState). Restore it")
