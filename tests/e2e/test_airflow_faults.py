"""Faults of Airflow's processes and actions of users, with a complete Airflow: scheduler, triggerer, workers, API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from include.dev.local_aws.emr.faults import FAULT_TAG
from include.dev.sample_images import generate, make_plan
from tests.support.airflow.api import DAG, ENDED, QUICK_RETRIES, Airflow, running_airflow, wait_for
from tests.support.airflow.faults import AIRFLOW_FAULTS, Case
from tests.support.airflow.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.dev.local_aws.local import LocalAws

STEP = "featurize_and_reduce"
RESPONSE_DELAY_S = 3
SETTINGS = {
    "FRUITS_DEPLOYMENT": "killed",
    "FRUITS_LOG_WAIT_S": "20",
    "FRUITS_NO_CLUSTER_BELOW": "0",
    "FRUITS_EMR_TAGS": f'{{"{FAULT_TAG}": "answer-late:{RESPONSE_DELAY_S}"}}',
    # Airflow detects dead processes within seconds instead of minutes
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}


@pytest.fixture(scope="module")
def orchard(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    orchard = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("killed"), {})
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 16), seed=0, jobs=1, progress=False)
    orchard.put_folder(folder)
    return orchard


@pytest.fixture(scope="module")
def airflow(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    with running_airflow(local_aws, tmp_path_factory.mktemp("airflow"), SETTINGS, QUICK_RETRIES) as airflow:
        yield airflow


class Run:
    """A triggered run, and the steps up to the moment of the fault."""

    def __init__(self, airflow: Airflow, orchard: Pipeline, run_id: str) -> None:
        self.airflow, self.orchard, self.id = airflow, orchard, run_id
        self._clusters = len(orchard.cluster_states())
        self._before = self._published()
        airflow.trigger(DAG, run_id, bucket=orchard.bucket, k=3, force=True)

    def clear(self) -> None:
        """Clear all tasks of the run."""
        self._clusters = len(self.orchard.cluster_states())
        self.airflow.call("POST", f"dags/{DAG}/dagRuns/{self.id}/clear", dry_run=False, only_failed=False)

    def await_cluster(self) -> str:
        """Wait for the run's cluster and return its id."""
        cluster: str = wait_for(self._own_clusters, pause_s=0.05)[0]  # before its answer arrives
        return cluster

    def await_step(self) -> str:
        """Wait until the step runs and its task is deferred. Return the cluster's id."""
        cluster = wait_for(self._cluster_with_step)
        wait_for(lambda: self.task(STEP)["state"], lambda state: state == "deferred")
        return str(cluster)

    def _own_clusters(self) -> list[str]:
        """Return the ids of the run's clusters. Other tests may have left clusters that have not ended."""
        return self.orchard.cluster_ids()[self._clusters :]

    def _cluster_with_step(self) -> str | None:
        """Return the id of the run's cluster whose step runs."""
        assert self.airflow.state(DAG, self.id) not in ENDED, self.airflow.tasks(DAG, self.id)
        emr = self.orchard.aws.emr()
        steps = {cluster: emr.list_steps(ClusterId=cluster, StepStates=["RUNNING"]) for cluster in self._own_clusters()}
        return next((cluster for cluster, answer in steps.items() if answer["Steps"]), None)

    def task(self, task_id: str) -> dict[str, Any]:
        return self.airflow.task(DAG, self.id, task_id)

    def check(self, case: Case) -> None:
        """Assert the outcome of the fault matrix."""
        state = self.airflow.await_end(DAG, self.id)
        clusters = tuple(state for state, _ in self.orchard.cluster_states()[self._clusters :])
        log = "".join(self.airflow.log(DAG, self.id, task) for task in ("create_cluster", STEP))
        assert (state, clusters) == (case.state, case.clusters), log
        assert self.orchard.aws.active_clusters() == []
        assert [text for text in case.messages if text not in log] == []
        assert self._published() == (self.id if case.succeeds else self._before)

    def _published(self) -> str | None:
        """Return the id of the DAG run that has published last."""
        if not self.orchard.has("features/latest.json"):
            return None
        return self.orchard.dag_runs()[self.orchard.published()["run"]]


def _case(injected: str) -> Case:
    (case,) = [case for case in AIRFLOW_FAULTS if case.injected.startswith(injected)]
    return case


def test_concurrent_writing_requests_do_not_hang(airflow: Airflow) -> None:
    def write(user: int) -> None:
        for number in range(10):
            airflow.call("PATCH", "dags/fruits_janitor", is_paused=True)
            airflow.call("POST", "variables", key=f"{user}-{number}", value="")

    with ThreadPoolExecutor(6) as users:
        list(users.map(write, range(6)))


@pytest.mark.parametrize("component", ["scheduler", "triggerer"])
def test_run_succeeds_after_a_component_was_killed(airflow: Airflow, orchard: Pipeline, component: str) -> None:
    run = Run(airflow, orchard, f"{component}-killed")
    run.await_step()

    airflow.kill_and_restart(component)

    run.check(_case(f"{component} killed"))


def test_retry_after_a_worker_killed_between_runjobflow_and_xcom_adopts_the_cluster(
    airflow: Airflow, orchard: Pipeline
) -> None:
    run = Run(airflow, orchard, "worker-killed")
    run.await_cluster()

    airflow.kill_worker_of(run.task("create_cluster"))

    run.check(_case("worker killed"))
    assert run.task("create_cluster")["try_number"] == 2


def test_cleared_task_runs_again_on_the_same_cluster(airflow: Airflow, orchard: Pipeline) -> None:
    run = Run(airflow, orchard, "task-cleared")
    run.await_step()

    cleared = {"dry_run": False, "only_failed": False, "dag_run_id": run.id, "task_ids": [STEP]}
    airflow.call("POST", f"dags/{DAG}/clearTaskInstances", **cleared, include_downstream=True)

    run.check(_case("task cleared"))


def test_run_marked_failed_ends_its_step_and_cluster_and_can_run_again(airflow: Airflow, orchard: Pipeline) -> None:
    run = Run(airflow, orchard, "marked-failed")
    run.await_step()

    airflow.call("PATCH", f"dags/{DAG}/dagRuns/{run.id}", state="failed")

    run.check(_case("run marked failed"))
    assert [run.task(task)["state"] for task in (STEP, "terminate_cluster", "publish")] == [
        *("failed", "success", "skipped"),
    ]
    run.clear()
    run.check(Case("nothing", succeeds=True))
