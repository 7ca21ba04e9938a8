"""A whole Airflow under test: its API, and its processes to kill."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from include.dev.local_airflow.server import LocalAirflow
from include.dev.local_airflow.sqlite import LOCAL_SETTINGS
from include.dev.local_aws.deployment import deploy
from include.dev.local_aws.processes import end, tree
from tests.support import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

DAG = "fruits_features"
ENDED = {"success", "failed"}
TIMEOUT_S = 60
TASK_PROCESS = re.compile(r"airflow worker -- ([0-9a-f-]{36})")
"""How Airflow calls the process that runs a task: by the id of the task instance, which each try has its own."""

QUICK_RETRIES = """
from datetime import timedelta

def task_policy(task):
    task.retry_delay, task.retry_exponential_backoff = timedelta(seconds=1), 0
"""
"""A policy: a killed task is tried again in a second instead of 15 to 30."""

wait_for = partial(waiting.wait_for, within_s=240.0, pause_s=0.5)
"""A busy Airflow takes its time, and each look at it takes some of that."""


@contextmanager
def running_airflow(
    aws: LocalAws, folder: Path, settings: Mapping[str, str] | None = None, policy: str = ""
) -> Iterator[Airflow]:
    """A whole Airflow as `make up` starts it, with the DAG unpaused.

    The DAG's bucket holds no images; the scheduled run that waits for some is ended.

    Args:
        aws: what its tasks use.
        folder: its home.
        settings: of the deployment and of Airflow.
        policy: Python text of Airflow's cluster policies (`airflow_local_settings`).
    """
    deploy(aws.s3())
    if policy:
        (folder / "config").mkdir()
        (folder / "config" / "airflow_local_settings.py").write_text(LOCAL_SETTINGS + policy)
    local = LocalAirflow(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | aws.environment | (settings or {})
    address = local.start(port, environment)
    try:
        environment["AIRFLOW_HOME"] = str(folder)
        with closing(Airflow(address, local.passwords()["admin"], environment)) as airflow:
            airflow.unpause(DAG)
            airflow.end_scheduled_run(DAG)
            yield airflow
    finally:
        local.stop()


class Airflow:
    """One running Airflow.

    Args:
        address: of its API.
        password: of user admin.
        environment: of its processes.
    """

    def __init__(self, address: str, password: str, environment: Mapping[str, str]) -> None:
        self.address, self.password, self._environment = address, password, environment
        user = {"username": "admin", "password": password}
        answer = httpx.post(f"{address}/auth/token", json=user, timeout=TIMEOUT_S)
        token = answer.raise_for_status().json()["access_token"]
        self._client = httpx.Client(
            base_url=f"{address}/api/v2/", headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S
        )
        self._respawned: list[psutil.Process] = []

    def close(self) -> None:
        """End what was started anew."""
        self._client.close()
        for process in self._respawned:
            end(tree(process), grace_s=5)

    def call(self, method: str, path: str, **body: Any) -> Any:  # noqa: ANN401 - JSON
        answer = self._client.request(method, path, json=body or None)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json()

    def command(self, *arguments: str) -> None:
        """Run an `airflow` command beside it, as a person would."""
        subprocess.run(
            ["airflow", *arguments],  # noqa: S607 - our own virtual environment's
            env=dict(self._environment),
            check=True,
            timeout=TIMEOUT_S,
        )

    def unpause(self, dag_id: str) -> None:
        wait_for(lambda: self._client.get(f"dags/{dag_id}").is_success)
        self.call("PATCH", f"dags/{dag_id}", is_paused=False)

    def end_scheduled_run(self, dag_id: str) -> None:
        """End the run that begins as soon as a DAG is unpaused, once it waits: a task just starting would go on."""
        (run,) = wait_for(lambda: self.call("GET", f"dags/{dag_id}/dagRuns")["dag_runs"])
        run_id = run["dag_run_id"]
        wait_for(lambda: self.task(dag_id, run_id, "wait_for_images")["state"], lambda state: state == "deferred")
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", state="failed")
        self.await_end(dag_id, run_id)

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> None:  # noqa: ANN401 - parameters
        self.call("POST", f"dags/{dag_id}/dagRuns", dag_run_id=run_id, logical_date=None, conf=conf)

    def state(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        state: str = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """What is known of a task of a run."""
        task: dict[str, Any] = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return task

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """What is known of all tasks of a run."""
        tasks: list[dict[str, Any]] = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return tasks

    def runs(self, dag_id: str, run_type: str) -> list[dict[str, Any]]:
        """What is known of a DAG's runs of a type."""
        runs: list[dict[str, Any]] = self.call("GET", f"dags/{dag_id}/dagRuns?run_type={run_type}")["dag_runs"]
        return runs

    def asset_events(self) -> list[dict[str, Any]]:
        """What is known of all events of assets; Airflow 3.3 breaks down over those whose runs are still queued."""
        answer = wait_for(lambda: self._client.get("assets/events?limit=100"), lambda answer: answer.is_success)
        events: list[dict[str, Any]] = answer.json()["asset_events"]
        return events

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The logs of all of a task's tries that Airflow knows; it forgets one that it took for lost as it resumed."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        tries = [one["try_number"] for one in self.call("GET", f"{path}/tries")["task_instances"]]
        logs = [self.call("GET", f"{path}/logs/{number}?full_content=true") for number in tries if number]
        return "".join(str(log["content"]) for log in logs)

    def await_end(self, dag_id: str, run_id: str) -> str:
        """The final state of a run."""
        return wait_for(lambda: self.state(dag_id, run_id), ENDED.__contains__)

    def kill_and_restart(self, component: str) -> None:
        """Kill a component with all its processes, and start it again as it was."""
        process = next(one for one in self._processes() if _arguments(one)[-1:] == [component])  # parents come first
        arguments, environment, folder = process.cmdline(), process.environ(), process.cwd()
        for one in tree(process):
            one.kill()
        quiet = subprocess.DEVNULL
        started = subprocess.Popen(arguments, env=environment, cwd=folder, stdout=quiet, stderr=quiet)
        self._respawned.append(psutil.Process(started.pid))

    def task_processes(self) -> dict[str, psutil.Process]:
        """The processes that run tasks just now, by the ids of the task instances."""
        titles = {one: TASK_PROCESS.search(" ".join(_arguments(one))) for one in self._processes()}
        return {title[1]: process for process, title in titles.items() if title}

    def kill_worker_of(self, task: dict[str, Any]) -> None:
        """Kill the process that runs a task, and the worker that watches it."""
        kill_worker(self.task_processes()[task["id"]])

    @staticmethod
    def _processes() -> list[psutil.Process]:
        return psutil.Process().children(recursive=True)


def kill_worker(process: psutil.Process) -> None:
    """Kill the process that runs a task, and the worker that watches it."""
    worker = process.parent()
    assert worker
    for one in (worker, process):
        one.kill()


def _arguments(process: psutil.Process) -> list[str]:
    """The command line of a process; none of one that is over."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []
