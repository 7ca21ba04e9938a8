"""Create Airflow's database for the demo, the tests and the local UI, and close runs that nothing will finish."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"


class AirflowDatabaseError(Exception):
    """The database could not be created or changed. The message names the log."""


class Run(NamedTuple):
    """A DAG run in the state "running"."""

    dag_id: str
    run_id: str
    triggered_by: str


def ensure_database(home: Path, environment: Mapping[str, str]) -> None:
    """Create or migrate the database below `home`, unless this version of Airflow has done so.

    Args:
        home: `AIRFLOW_HOME`.
        environment: Environment of Airflow's processes, with the same `AIRFLOW_HOME`.

    Raises:
        AirflowDatabaseError: `airflow db migrate` failed.
    """
    done = home / f"migrated-{version('apache-airflow')}"
    if done.exists():
        return
    home.mkdir(parents=True, exist_ok=True)
    is_new = not _file(home).exists()
    try:
        _run(["airflow", "db", "migrate"], environment, home / "migrate.log")
    except BaseException:
        if is_new:  # Airflow cannot continue a half created database
            _file(home).unlink(missing_ok=True)
        raise
    done.touch()


def running(home: Path) -> list[Run]:
    """Return the runs in the state "running" of the database below `home`; none if there is no database."""
    if not _file(home).exists():
        return []
    with closing(sqlite3.connect(f"{_file(home).as_uri()}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT dag_id, run_id, triggered_by FROM dag_run WHERE state = 'running'")
        return [Run(*row) for row in rows]


def left_by_dags_test(home: Path) -> list[Run]:
    """Return the running runs of `airflow dags test` that were left when its process was killed."""
    runs = [run for run in running(home) if run.triggered_by.lower() == "test"]
    return [] if runs and _dags_test_runs(home) else runs


def close(runs: Sequence[Run], home: Path, environment: Mapping[str, str], *options: str) -> None:
    """Mark runs as failed, and end their clusters.

    Args:
        runs: Runs that nothing will finish.
        home: `AIRFLOW_HOME`.
        environment: Environment of Airflow's processes.
        options: Further options of `fruits_airflow.close_runs`.

    Raises:
        AirflowDatabaseError: The runs could not be closed.
    """
    path = os.pathsep.join([str(PLUGINS), environment["PYTHONPATH"]])
    named = [word for run in runs for word in ("--run", run.dag_id, run.run_id)]
    command = [sys.executable, "-m", "fruits_airflow.close_runs", *named, *options]
    _run(command, {**environment, "PYTHONPATH": path, "AIRFLOW_HOME": str(home)}, home / "close.log")


def _dags_test_runs(home: Path) -> bool:
    """Return whether a process of `airflow dags test` uses the database below `home`."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if "dags test" in " ".join(process.cmdline()) and process.environ().get("AIRFLOW_HOME") == str(home):
                return True
    return False


def _run(command: list[str], environment: Mapping[str, str], log: Path) -> None:
    with log.open("wb") as output:
        result = subprocess.run(command, env=dict(environment), stdout=output, stderr=output, check=False)  # noqa: S603
    if result.returncode:
        raise AirflowDatabaseError(f"Airflow could not create or change its database in {log.parent}; see {log}.")


def _file(home: Path) -> Path:
    return home / "airflow.db"
