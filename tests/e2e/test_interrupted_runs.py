"""Ctrl-C at any moment: the run is closed, its cluster ends, and the next run succeeds."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.dev.local_airflow import database
from include.dev.local_aws.emr.states import ACTIVE
from include.dev.local_aws.processes import marked
from include.dev.sample_images import generate, make_plan
from tests.support import waiting
from tests.support.airflow.forks import start_in_fork
from tests.support.checkouts import copy_of_checkout

if TYPE_CHECKING:
    from tests.support.airflow.pipeline import Pipeline

ROOT = Path(__file__).parents[2]
PARAMS = {"k": 4, "force": True}
MOMENTS = (
    ("2026-04-01", "starting task_id=take_inventory", signal.SIGINT),
    ("2026-04-02", "starting task_id=cluster_ready", signal.SIGTERM),
    ("2026-04-03", "starting task_id=validate_parquet", signal.SIGINT),
    ("2026-04-04", "starting task_id=publish ", signal.SIGTERM),
)
"""Date of the run, text of the log that precedes the interruption, and signal."""
IN_STEP = re.compile("Step s-[A-Z0-9]+ is (PENDING|RUNNING)")

wait_for = partial(waiting.wait_for, pause_s=0.1)


@pytest.fixture(scope="module")
def orchard(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A bucket of its own with some images."""
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 24), seed=0, jobs=1, progress=False)
    own = replace(pipeline, bucket=pipeline.aws.create_bucket("interrupted"))
    own.put_folder(folder)
    return own


@pytest.mark.parametrize(("date", "moment", "number"), MOMENTS)
def test_interrupted_run_fails_at_once_and_leaves_no_cluster(
    orchard: Pipeline, tmp_path: Path, date: str, moment: str, number: signal.Signals
) -> None:
    log = tmp_path / "airflow.log"
    process = start_in_fork(orchard.command(date, **PARAMS), orchard.environment, log)
    wait_for(lambda: log.exists() and moment in log.read_text())

    os.kill(process.pid or 0, number)
    process.join(300)

    assert process.exitcode == 128 + number, log.read_text()[-4000:]
    assert _states(Path(orchard.environment["AIRFLOW_HOME"]), date) == {"failed"}
    wait_for(lambda: not {state for state, _ in orchard.cluster_states()} & set(ACTIVE))


def test_run_after_interrupted_ones_is_published(orchard: Pipeline) -> None:
    run = orchard.run("2026-04-05", **PARAMS)

    assert run.ok, run.error
    assert orchard.published()["run"].startswith("2026-04-05")


def test_interrupted_demo_ends_everything_that_it_started(tmp_path: Path) -> None:
    checkout = copy_of_checkout(tmp_path)
    home = checkout / ".local" / "airflow"
    log = checkout / ".local" / "demo.log"
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(checkout / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(checkout / "plugins"),
        "PYTHONPATH": os.pathsep.join(map(str, (checkout, checkout / "spark_apps"))),
        "FRUITS_TEST_DEMO": str(tmp_path),
        "AWS_PROFILE": "that-does-not-exist",
    }
    demo = subprocess.Popen(
        [sys.executable, "-m", "include.dev.demo"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: demo.poll() is not None or (log.exists() and IN_STEP.search(log.read_text())))
    finally:
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
        output, _ = demo.communicate(timeout=300)

    assert demo.returncode == 128 + signal.SIGINT, output
    assert "run it again" in output
    assert "is marked as failed. Its cluster j-" in log.read_text()
    assert database.running(home) == []
    assert not (checkout / ".local" / "aws" / "local_aws.json").exists()
    assert marked("FRUITS_TEST_DEMO", str(tmp_path)) == []


def _states(home: Path, date: str) -> set[str]:
    """Return the state of a date's run, and the states of its tasks that have not succeeded or been skipped."""
    with closing(sqlite3.connect(home / "airflow.db")) as connection:
        run = "SELECT run_id FROM dag_run WHERE dag_id = 'fruits_features' AND date(logical_date) = :date"
        states = connection.execute(
            f"SELECT state FROM dag_run WHERE run_id IN ({run}) UNION "  # noqa: S608
            "SELECT coalesce(state, 'none') FROM task_instance "
            f"WHERE run_id IN ({run}) AND coalesce(state, 'none') NOT IN ('success', 'skipped')",
            {"date": date},
        )
        return {state for (state,) in states}
