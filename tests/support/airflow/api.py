"""A complete Airflow under test: its API and its processes."""

from __future__ import annotations

import re
import socket
import subprocess
import uuid
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from include.deploy import uploads
from include.dev.local_airflow.server import LocalAirflow
from include.dev.local_airflow.sqlite import LOCAL_SETTINGS
from include.dev.local_aws import deployment
from include.dev.local_aws.processes import end, tree
from tests.support import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws

DAG = "fruits_features"
ENDED = {"success", "failed"}
TIMEOUT_S = 300
TASK_PROCESS = re.compile(r"airflow worker -- ([0-9a-f-]{36})")
"""Title of the process that runs a task. It contains the id of the task instance, which differs for each try."""

QUICK_RETRIES = """
from datetime import timedelta

def task_policy(task):
    task.retry_delay, task.retry_exponential_backoff = timedelta(seconds=1), 0
"""
"""Cluster policy that retries a killed task after one second."""

wait_for = partial(waiting.wait_for, within_s=900.0, pause_s=0.5)
"""`wait_for` with a timeout for a busy Airflow."""


@contextmanager
def running_airflow(
    aws: LocalAws, folder: Path, settings: Mapping[str, str] | None = None, policy: str = ""
) -> Iterator[Airflow]:
    """Start a complete Airflow like `make up`, with the DAG unpaused, and stop it at the end.

    The DAG's bucket contains no images. The scheduled run that waits for images is ended.

    Args:
        aws: Local AWS that the tasks use.
        folder: Airflow's home.
        settings: Environment variables of the deployment and of Airflow.
        policy: Python text of Airflow's cluster policies (`airflow_local_settings`).
    """
    settings = {"FRUITS_BUCKET": _deployed_bucket(aws), **(settings or {})}
    if policy:
        (folder / "config").mkdir()
        (folder / "config" / "airflow_local_settings.py").write_text(LOCAL_SETTINGS + policy)
    local = LocalAirflow(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = aws.process_environment | settings
    address = local.start(port, environment)
    try:
        environment["AIRFLOW_HOME"] = str(folder)
        with closing(Airflow(address, local.passwords()["admin"], environment)) as airflow:
            airflow.unpause(DAG)
            airflow.end_scheduled_run(DAG)
            yield airflow
    finally:
        local.stop()


def _deployed_bucket(aws: LocalAws) -> str:
    """Create a bucket with the artifacts and without images. Other tests put images into the default bucket."""
    bucket = aws.create_bucket(f"waiting-{uuid.uuid4().hex[:12]}")
    for upload in deployment.build():
        uploads.send(aws.s3(), bucket, upload)
    return bucket


class Airflow:
    """One running Airflow.

    Args:
        address: URL of its API server.
        password: Password of the user admin.
        environment: Environment variables of its processes.
    """

    def __init__(self, address: str, password: str, environment: Mapping[str, str]) -> None:
        self.address, self.password, self._environment = address, password, environment
        user = {"username": "admin", "password": password}
        response = httpx.post(f"{address}/auth/token", json=user, timeout=TIMEOUT_S)
        token = response.raise_for_status().json()["access_token"]
        self._client = httpx.Client(
            base_url=f"{address}/api/v2/", headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S
        )
        self._respawned: list[psutil.Process] = []

    def close(self) -> None:
        """End the restarted processes."""
        self._client.close()
        for process in self._respawned:
            end(tree(process), grace_s=5)

    def call(self, method: str, path: str, **body: Any) -> Any:  # noqa: ANN401 - JSON
        response = self._client.request(method, path, json=body or None)
        assert response.is_success, f"{method} {path}: {response.text}"
        return response.json()

    def command(self, *arguments: str) -> None:
        """Run an `airflow` command."""
        subprocess.run(
            ["airflow", *arguments],  # noqa: S607 - the command of the virtual environment
            env=dict(self._environment),
            check=True,
            timeout=TIMEOUT_S,
        )

    def await_dag(self, dag_id: str) -> None:
        """Wait until the DAG has been parsed."""
        wait_for(lambda: self._client.get(f"dags/{dag_id}").is_success)

    def unpause(self, dag_id: str) -> None:
        self.await_dag(dag_id)
        self.call("PATCH", f"dags/{dag_id}", is_paused=False)

    def end_scheduled_run(self, dag_id: str) -> None:
        """End the run that starts when a DAG is unpaused, after its deferral. A starting task would continue."""
        (run,) = wait_for(lambda: self.call("GET", f"dags/{dag_id}/dagRuns")["dag_runs"])
        run_id = run["dag_run_id"]
        wait_for(lambda: self.task(dag_id, run_id, "wait_for_images")["state"], lambda state: state == "deferred")
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", state="failed")
        self.await_end(dag_id, run_id)

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> None:  # noqa: ANN401 - parameters
        self.call("POST", f"dags/{dag_id}/dagRuns", dag_run_id=run_id, logical_date=None, conf=conf)

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        state: str = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return a task instance."""
        task: dict[str, Any] = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return task

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a run."""
        tasks: list[dict[str, Any]] = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return tasks

    def runs(self, dag_id: str, run_type: str) -> list[dict[str, Any]]:
        """Return a DAG's runs of a type."""
        runs: list[dict[str, Any]] = self.call("GET", f"dags/{dag_id}/dagRuns?run_type={run_type}")["dag_runs"]
        return runs

    def asset_events(self) -> list[dict[str, Any]]:
        """Return all asset events. Airflow 3.3 answers with an error while a run of an event is queued."""
        response = wait_for(lambda: self._client.get("assets/events?limit=100"), lambda response: response.is_success)
        events: list[dict[str, Any]] = response.json()["asset_events"]
        return events

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return the logs of all tries of a task that Airflow knows. It forgets a try that was lost while resuming."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        tries = [entry["try_number"] for entry in self.call("GET", f"{path}/tries")["task_instances"]]
        logs = [self.call("GET", f"{path}/logs/{number}?full_content=true") for number in tries if number]
        return "".join(str(log["content"]) for log in logs)

    def await_end(self, dag_id: str, run_id: str) -> str:
        """Wait for the end of a run and return its state."""
        return wait_for(lambda: self.state(dag_id, run_id), ENDED.__contains__)

    def kill_and_restart(self, component: str) -> None:
        """Kill a component with all its processes, and restart it with the same command."""
        process = next(  # parents come first
            process for process in self._processes() if _arguments(process)[-1:] == [component]
        )
        arguments, environment, folder = process.cmdline(), process.environ(), process.cwd()
        for member in tree(process):
            member.kill()
        started = subprocess.Popen(
            arguments, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._respawned.append(psutil.Process(started.pid))

    def task_processes(self) -> dict[str, psutil.Process]:
        """Return the processes that currently run tasks, by the ids of the task instances."""
        titles = {process: TASK_PROCESS.search(" ".join(_arguments(process))) for process in self._processes()}
        return {title[1]: process for process, title in titles.items() if title}

    def kill_worker_of(self, task: dict[str, Any]) -> None:
        """Kill the process that runs a task, and the worker that supervises it."""
        kill_worker(self.task_processes()[task["id"]])

    @staticmethod
    def _processes() -> list[psutil.Process]:
        return psutil.Process().children(recursive=True)


def kill_worker(process: psutil.Process) -> None:
    """Kill the process that runs a task, and the worker that supervises it."""
    worker = process.parent()
    assert worker
    for victim in (worker, process):
        victim.kill()


def _arguments(process: psutil.Process) -> list[str]:
    """Return the command line of a process, or an empty list if it has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []
