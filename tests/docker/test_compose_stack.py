"""docker-compose.yaml on a real engine: both DAGs, a restart of the scheduler, and what is left afterwards.

Not part of `make test`: `make test-docker` gives these tests an engine of their own. On another engine, the ports that
docker-compose.yaml publishes have to be free.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.airflow.api import Airflow, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PROJECT = "fruits-compose-test"
ADDRESS = "http://127.0.0.1:8080"
logger = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
BUILD_TIMEOUT_S, UP_TIMEOUT_S, TIMEOUT_S = 1800, 900, 300
OWNED = ("--filter", f"label=com.docker.compose.project={PROJECT}")
"""Options of `docker … ls`: list what belongs to this project only."""


class Stack:
    """The services of docker-compose.yaml, under a name of their own.

    Args:
        secrets: The file that make-secrets.sh wrote.
    """

    def __init__(self, secrets: Path) -> None:
        program = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        self._command = [*program, "--project-name", PROJECT, "--env-file", str(secrets)]
        settings = dict(line.split("=", 1) for line in secrets.read_text().splitlines())
        self.password = settings["AIRFLOW_ADMIN_PASSWORD"]

    def compose(self, *arguments: str, timeout_s: float = TIMEOUT_S) -> str:
        """Run compose in the checkout and return what it printed."""
        logger.info("compose %s", " ".join(arguments))
        command = [*self._command, *arguments]
        done = subprocess.run(command, cwd=ROOT, check=False, timeout=timeout_s, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout[-8000:]}\n{done.stderr[-8000:]}"
        return done.stdout

    def down(self) -> None:
        """Stop and remove everything that `up` made."""
        self.compose("down", "--volumes", "--remove-orphans")

    def await_healthy(self) -> None:
        """Wait until every component of Airflow reports that it is healthy."""
        wait_for(_unhealthy, lambda unhealthy: not unhealthy)

    def await_sample_images(self) -> None:
        """Wait until all sample images are in the bucket."""
        container = self.compose("ps", "--all", "--quiet", "sample-images").strip()
        assert _docker("wait", container) == ["0"], _docker("logs", container)


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    scripts = tmp_path_factory.mktemp("checkout") / "include" / "dev" / "containers"
    shutil.copytree(ROOT / "include" / "dev" / "containers", scripts)
    subprocess.run([scripts / "make-secrets.sh"], check=True)  # the checkout's own secrets stay as they are
    stack = Stack(scripts.parents[2] / ".local" / "compose.env")
    stack.compose("build", "local-aws", timeout_s=BUILD_TIMEOUT_S)
    try:
        stack.compose("up", "--detach", timeout_s=UP_TIMEOUT_S)
        stack.await_sample_images()
        stack.await_healthy()
        yield stack
    finally:
        if request.session.testsfailed:
            logger.error("%s\n%s", stack.compose("ps"), stack.compose("logs", "--no-color", "--tail=40"))
        stack.down()


@pytest.fixture(scope="module")
def airflow(stack: Stack) -> Iterator[Airflow]:
    with closing(Airflow(ADDRESS, stack.password, os.environ)) as airflow:
        yield airflow


def test_both_dags_publish(airflow: Airflow) -> None:
    # In one data set, the older run is skipped. The daily runs of both DAGs, which start too, are in the default one.
    dags = {"fruits_features": "emr", "fruits_features_spark": "spark"}
    for dag, dataset in dags.items():
        airflow.await_dag(dag)
        airflow.trigger(dag, "triggered", force=True, dataset=dataset)
    for dag in dags:
        airflow.unpause(dag)

    for dag in dags:
        _assert_published(airflow, dag, "triggered")


def test_run_survives_a_restart_of_the_scheduler(stack: Stack, airflow: Airflow) -> None:
    airflow.trigger("fruits_features", "restarted", dataset="new")  # whose images are all new, so a cluster is created
    wait_for(
        lambda: airflow.task("fruits_features", "restarted", "featurize_and_reduce")["state"],
        lambda state: state == "deferred",
    )

    stack.compose("restart", "scheduler")

    _assert_published(airflow, "fruits_features", "restarted")


def test_down_with_volumes_leaves_nothing(stack: Stack) -> None:
    assert len(_left()) > len(COMPONENTS)

    stack.down()

    assert _left() == []


def _assert_published(airflow: Airflow, dag: str, run: str) -> None:
    state = airflow.await_end(dag, run)
    tasks = {task["task_id"]: task["state"] for task in airflow.tasks(dag, run)}
    logs = [airflow.log(dag, run, task)[-4000:] for task, ended in tasks.items() if ended == "failed"]
    assert state == "success", "\n".join([str(tasks), *logs])
    assert tasks["publish"] == "success", tasks


def _unhealthy() -> list[str]:
    """Return the components of Airflow that are not healthy: all of them while its API does not answer."""
    try:
        health = httpx.get(f"{ADDRESS}/api/v2/monitor/health", timeout=5).raise_for_status().json()
    except httpx.HTTPError:
        return list(COMPONENTS)
    return [name for name in COMPONENTS if health[name]["status"] != "healthy"]


def _left() -> list[str]:
    """Return the ids of the project's containers, volumes and networks."""
    return [
        *_docker("ps", "--all", "--quiet", *OWNED),
        *_docker("volume", "ls", "--quiet", *OWNED),
        *_docker("network", "ls", "--quiet", *OWNED),
    ]


def _docker(*arguments: str) -> list[str]:
    """Return the words that the docker command prints."""
    return subprocess.run(
        ["docker", *arguments],  # noqa: S607 - whichever is installed
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
    ).stdout.split()
