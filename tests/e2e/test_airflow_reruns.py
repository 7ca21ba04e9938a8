"""Statements of docs/guides/reruns.md about two triggers, backfills and killed runs, with a complete Airflow."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import psutil
import pytest
from polars.testing import assert_frame_equal

from fruits_airflow.task_ids import VALIDATE_ON_CLUSTER
from include.dev.local_aws.emr.faults import FAULT_TAG
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.api import DAG, ENDED, QUICK_RETRIES, Airflow, kill_worker, running_airflow, wait_for
from tests.support.airflow.faults import AIRFLOW_FAULTS
from tests.support.airflow.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

DOWNSTREAM = "fruits_example_downstream"
STEP = "featurize_and_reduce"
PARAMS = {"k": 3, "max_quarantine_share": 0.2}
SETTINGS = {
    "FRUITS_DEPLOYMENT": "rerun",
    "FRUITS_LOG_WAIT_S": "20",
    "FRUITS_NO_CLUSTER_BELOW": "0",
    "FRUITS_EMR_TAGS": f'{{"{FAULT_TAG}": "answer-late:3"}}',  # time to kill the waiting process
    # Airflow detects dead processes within seconds instead of minutes
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
}


@pytest.fixture(scope="module")
def airflow(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with running_airflow(local_aws, tmp_path_factory.mktemp("airflow"), SETTINGS, QUICK_RETRIES) as airflow:
        airflow.unpause(DOWNSTREAM)
        yield airflow


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 16), seed=0, jobs=1, progress=False)
    (folder / "Test" / "Banana" / "text.jpg").write_bytes(b"no image at all")
    return folder


@pytest.fixture(scope="module")
def orchard(airflow: Airflow, local_aws: LocalAws, images: Path) -> Pipeline:
    """A bucket with two ended runs that were triggered at the same time."""
    orchard = _bucket(local_aws, "triggered-twice", images)
    for run in ("one", "other"):
        airflow.trigger(DAG, run, bucket=orchard.bucket, **PARAMS)
    for run in ("one", "other"):
        assert airflow.await_end(DAG, run) == "success"
    return orchard


def _bucket(aws: LocalAws, name: str, images: Path) -> Pipeline:
    bucket = Pipeline(aws, aws.s3(), aws.create_bucket(name), {})
    bucket.put_folder(images)
    return bucket


def _rows(bucket: Pipeline, table: str) -> pl.DataFrame:
    """Return a published table with paths relative to the bucket."""
    rows = bucket.table(table).with_columns(pl.col("path").str.strip_prefix(f"s3://{bucket.bucket}/"))
    return rows.sort("path")


def _assert_equal(rows: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Assert identical rows, with a tolerance for projections that were fitted separately."""
    assert_frame_equal(rows.drop("pca", strict=False), expected.drop("pca", strict=False))
    if "pca" in expected:
        np.testing.assert_allclose(np.stack(rows["pca"]), np.stack(expected["pca"]), atol=1e-4)


def _announced(airflow: Airflow, bucket: Pipeline) -> list[str]:
    """Return the runs in the asset's events, after the downstream DAG has run for each event."""
    events = airflow.asset_events()
    wait_for(
        lambda: [run["state"] for run in airflow.runs(DOWNSTREAM, "asset_triggered")],
        lambda states: states == ["success"] * len(events),
    )
    return [event["extra"]["run"] for event in events if event["extra"].get("bucket") == bucket.bucket]


def test_of_two_concurrent_triggers_one_publishes_and_the_other_is_skipped(airflow: Airflow, orchard: Pipeline) -> None:
    latest = orchard.latest()
    first = orchard.dag_runs()[latest["run"]]
    (second,) = {"one", "other"} - {first}

    assert f"Nothing has changed since run {latest['run']}" in airflow.log(DAG, second, "find_changes")
    assert [airflow.task(DAG, run, "publish")["state"] for run in (first, second)] == ["success", "skipped"]
    assert [state for state, _ in orchard.cluster_states()] == ["TERMINATED"]
    assert latest["counts"] == {"inventory": 17, "features": 16, "quarantine": 1}
    assert _announced(airflow, orchard) == [latest["run"]]


def test_run_with_each_task_killed_publishes_the_same_rows(
    airflow: Airflow, orchard: Pipeline, local_aws: LocalAws, images: Path
) -> None:
    bucket, emr = _bucket(local_aws, "killed-everywhere", images), local_aws.emr()
    killer = Killer(
        airflow,
        moments={
            "take_inventory": lambda: bucket.has_in_runs("inventory/"),
            "create_cluster": bucket.cluster_ids,
            STEP: lambda: any(emr.list_steps(ClusterId=cluster)["Steps"] for cluster in bucket.cluster_ids()),
            "publish": lambda: bucket.has_in_runs("report/"),
        },
    )
    airflow.trigger(DAG, "killed", bucket=bucket.bucket, **PARAMS)

    killer.kill_until_end("killed")

    (case,) = [case for case in AIRFLOW_FAULTS if case.injected.startswith("each task killed")]
    assert airflow.state(DAG, "killed") == case.state
    tasks = {task["task_id"]: task["try_number"] for task in airflow.tasks(DAG, "killed")}
    started = [task for task, tries in tasks.items() if tries]
    assert set(tasks) - set(started) == {VALIDATE_ON_CLUSTER}
    assert killer.killed == Counter([*started, STEP])
    assert [task for task, times in killer.killed.items() if tasks[task] <= times] == []
    assert tuple(state for state, _ in bucket.cluster_states()) == case.clusters
    assert local_aws.active_clusters() == []
    log = "".join(airflow.log(DAG, "killed", task) for task in ("create_cluster", STEP))
    assert [text for text in case.messages if text not in log] == []
    (cluster,) = bucket.cluster_ids()
    assert [step["Status"]["State"] for step in emr.list_steps(ClusterId=cluster)["Steps"]] == ["COMPLETED"]
    for table in ("features", "quarantine"):
        _assert_equal(_rows(bucket, table), _rows(orchard, table))
    assert _announced(airflow, bucket) == [bucket.latest()["run"]]


class Killer:
    """Kill each task of a run in its first try, and the step's task also when it resumes after its wait.

    Args:
        airflow: Airflow that runs the tasks.
        moments: Condition per task id for the kill. These tasks are killed with their worker, so that Airflow notices
            the missing heartbeat. For other tasks only the process is killed, as soon as it runs.
    """

    def __init__(self, airflow: Airflow, moments: Mapping[str, Callable[[], object]]) -> None:
        self.killed: Counter[str] = Counter()
        self._airflow, self._moments = airflow, moments
        self._seen: dict[psutil.Process, str] = {}

    def kill_until_end(self, run: str) -> None:
        """Kill task processes until the run has ended."""
        deadline = time.monotonic() + 900
        while self._airflow.state(DAG, run) not in ENDED:
            assert time.monotonic() < deadline, f"killed: {self.killed}"
            new = {
                process: task_instance
                for task_instance, process in self._airflow.task_processes().items()
                if process not in self._seen
            }
            for process in new:
                _signal(process.suspend)  # a short task would end before it is identified
            for process, task_instance in new.items():
                self._seen[process] = task_instance
                self._kill_if_due(run, task_instance, process)
                _signal(process.resume)
            time.sleep(0.05)

    def _kill_if_due(self, run: str, task_instance: str, process: psutil.Process) -> None:
        task = next((task for task in self._airflow.tasks(DAG, run) if task["id"] == task_instance), None)
        if task is None:
            return
        nth = list(self._seen.values()).count(task_instance)
        if (task["try_number"], nth) == (1, 1):
            self._kill(task["task_id"], process)
        elif (task["task_id"], task["try_number"], nth) == (STEP, 2, 2):
            process.kill()
            self.killed[STEP] += 1

    def _kill(self, task_id: str, process: psutil.Process) -> None:
        moment = self._moments.get(task_id)
        if moment is None:
            process.kill()
        else:
            process.resume()
            while not moment():
                assert process.is_running(), f"{task_id} ended before its condition was met"
                time.sleep(0.005)
            kill_worker(process)
        self.killed[task_id] += 1


def _signal(signal: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        signal()


def test_backfill_publishes_the_current_bucket_once_without_an_event(airflow: Airflow, orchard: Pipeline) -> None:
    before, features, announced = orchard.latest(), _rows(orchard, "features"), _announced(airflow, orchard)
    removed = features["path"][0]
    orchard.s3.delete_object(Bucket=orchard.bucket, Key=removed)
    conf = json.dumps({"bucket": orchard.bucket, **PARAMS, "refit": "never"})

    dates = ("--from-date", "2026-03-01", "--to-date", "2026-03-03")
    order = ("--run-backwards", "--max-active-runs", "2")  # the first date starts last, while another date runs
    airflow.command("backfill", "create", "--dag-id", DAG, *dates, *order, "--dag-run-conf", conf)

    runs = wait_for(
        lambda: airflow.runs(DAG, "backfill"), lambda runs: len(runs) == 3 and {run["state"] for run in runs} <= ENDED
    )
    assert [run["state"] for run in runs] == ["success"] * 3
    assert Counter(airflow.task(DAG, run["dag_run_id"], "publish")["state"] for run in runs) == {
        "success": 1,
        "skipped": 2,
    }
    latest = orchard.latest()
    assert latest["run"] in {f"2026-03-0{day}T000000Z-rerun-{DAG}" for day in (1, 2, 3)}
    assert latest["inventory"]["taken_at"] > before["inventory"]["taken_at"]
    _assert_equal(_rows(orchard, "features"), features.filter(pl.col("path") != removed))
    assert [state for state, _ in orchard.cluster_states()] == ["TERMINATED"] * 2
    assert _announced(airflow, orchard) == announced


def test_cleared_publication_of_an_older_run_is_skipped(airflow: Airflow, orchard: Pipeline) -> None:
    latest = orchard.latest()
    older = next(run for run in ("one", "other") if airflow.task(DAG, run, "publish")["state"] == "success")
    cleared: dict[str, Any] = {"dag_run_id": older, "task_ids": ["publish"], "include_downstream": True}

    airflow.call("POST", f"dags/{DAG}/clearTaskInstances", dry_run=False, only_failed=False, **cleared)

    assert airflow.await_end(DAG, older) == "success"
    assert airflow.task(DAG, older, "publish")["state"] == "skipped"
    (name,) = (name for name, dag_run in orchard.dag_runs().items() if dag_run == older)
    assert f"Run {name} is not published" in airflow.log(DAG, older, "publish")
    assert orchard.latest() == latest
