"""A task links to its cluster, logs, results and report, in each try."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.providers.amazon.aws.hooks.emr import EmrHook
from airflow.providers.amazon.aws.links import base_aws
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from fruits_airflow import links
from fruits_airflow.emr.operators import CreateClusterOperator, RunStepOperator, TerminateClusterOperator
from fruits_airflow.emr.sensors import ClusterReadySensor
from fruits_airflow.hooks import aws
from fruits_airflow.links import ReportLink
from fruits_airflow.tasks import publish, validate_parquet
from include.dev.local_aws.client import REGION
from include.emr.tags import ClusterOwner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.dev.local_aws.local import LocalAws

CONSOLE = "https://console.aws.amazon.com"
KEY: Any = SimpleNamespace(dag_id="fruits_features", run_id="manual__1")
REPORT = "/fruits/dags/fruits_features/dag_runs/manual__1/report"
FOLDER = f"{CONSOLE}/s3/buckets/fruits?region={REGION}&prefix="

pytestmark = pytest.mark.usefixtures("aws_environment")


class Try:
    """One try of a task, its stored XComs, and its links."""

    def __init__(self, operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
        self.operator, self.stored = operator, dict[str, Any]()
        push = SimpleNamespace(xcom_push=lambda key, value: self.stored.update({key: value}))
        self.context: Any = {"ti": push, "task": operator}
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", "/")
        monkeypatch.setattr(base_aws, "XCom", SimpleNamespace(get_value=lambda key, ti_key: self.stored.get(key)))  # noqa: ARG005

    def links(self) -> dict[str, str]:
        return {link.name: link.get_link(self.operator, ti_key=KEY) for link in self.operator.operator_extra_links}


def _create(run_id: str) -> CreateClusterOperator:
    owner = ClusterOwner("links", "fruits_features", run_id)
    request = {
        "Name": owner.cluster_name,
        "Tags": owner.tags(),
        "LogUri": "s3://fruits/logs/emr/",
        "Instances": {"KeepJobFlowAliveWhenNoSteps": True},
    }
    return CreateClusterOperator(task_id="create_cluster", job_flow_overrides=request, botocore_config=aws.RETRY_CONFIG)


def _cluster_links(cluster: str) -> dict[str, str]:
    return {
        "EMR Cluster": f"{CONSOLE}/emr/home?region={REGION}#/clusterDetails/{cluster}",
        "Logs": f"{FOLDER}logs/emr/{cluster}/",
    }


@pytest.fixture
def cluster(local_aws: LocalAws) -> Iterator[str]:
    emr = local_aws.emr()
    instances: Any = {"KeepJobFlowAliveWhenNoSteps": True}
    cluster = emr.run_job_flow(Name="links", LogUri="s3://fruits/logs/emr/", Instances=instances)["JobFlowId"]
    yield cluster
    emr.terminate_job_flows(JobFlowIds=[cluster])
    emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})


@pytest.fixture
def on_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that take the local AWS for AWS."""
    monkeypatch.setattr(links, "is_aws", lambda _: True)


@pytest.mark.usefixtures("on_aws")
def test_create_cluster_links_to_the_created_or_adopted_cluster(
    local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in ("creates it", "adopts it"):
        attempt = Try(_create("linked"), monkeypatch)
        cluster = str(attempt.operator.execute(attempt.context))

        assert attempt.links() == _cluster_links(cluster)
    local_aws.emr().terminate_job_flows(JobFlowIds=[cluster])


@pytest.mark.usefixtures("on_aws")
def test_sensor_and_teardown_link_to_the_cluster(
    cluster: str, local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = Try(ClusterReadySensor(task_id="cluster_ready", job_flow_id=cluster), monkeypatch)
    ready.operator.poke(ready.context)
    assert ready.links() == _cluster_links(cluster)

    ending = Try(TerminateClusterOperator(task_id="terminate_cluster", job_flow_id=cluster), monkeypatch)
    with pytest.raises(TaskDeferred):
        ending.operator.execute(ending.context)
    local_aws.emr().get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})
    ending.operator.execute_complete(ending.context)
    assert ending.links() == _cluster_links(cluster)


@pytest.mark.usefixtures("on_aws")
def test_added_and_adopted_steps_link_to_cluster_logs_results_and_report(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = {"Jar": "command-runner.jar", "Args": ["true"]}
    step = {"Name": "step", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    for _ in ("adds it", "adopts it"):
        progress = "s3://fruits/features/runs/today/progress.json"
        attempt = Try(
            RunStepOperator(task_id="step", job_flow_id=cluster, steps=[step], progress=progress), monkeypatch
        )
        with pytest.raises(TaskDeferred):
            attempt.operator.execute(attempt.context)

        assert attempt.links() == {
            "EMR Cluster": _cluster_links(cluster)["EMR Cluster"],
            "Step logs": f"{FOLDER}logs/emr/{cluster}/steps/",
            "Run in S3": f"{FOLDER}features/runs/today/",
            "Report": REPORT,
        }
    assert len(EmrHook().conn.list_steps(ClusterId=cluster)["Steps"]) == 1


@pytest.mark.parametrize(
    ("module", "task", "step"),
    [
        (validate_parquet, validate_parquet.validate_parquet, "_audit"),
        (publish, publish.publish, "_write_report"),
    ],
)
@pytest.mark.usefixtures("on_aws")
def test_task_that_reads_a_run_links_to_it_even_when_it_fails(
    module: Any,  # noqa: ANN401
    task: Any,  # noqa: ANN401
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = Try(task().operator, monkeypatch)
    place = {"bucket": "fruits", "region": REGION, "uri": "s3://fruits/features/runs/none"}
    run = {"name": "none", **place, "taken_at": "2026-03-01T00:00Z"}
    attempt.context["ti"].xcom_pull = lambda task_ids: run if task_ids == "take_inventory" else None
    attempt.context |= {"params": {}, "dag_run": KEY}
    monkeypatch.setattr(module, "get_current_context", lambda: attempt.context)
    monkeypatch.setattr(module, step, Mock(side_effect=AirflowFailException))

    with pytest.raises(AirflowFailException):
        task.function()

    assert attempt.links() == {"Run in S3": f"{FOLDER}features/runs/none/", "Report": REPORT}


def test_links_of_an_emulated_aws_lead_to_the_files_of_the_run(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = Try(ClusterReadySensor(task_id="cluster_ready", job_flow_id=cluster), monkeypatch)
    attempt.operator.poke(attempt.context)

    page = REPORT.replace("/report", "/files")
    assert attempt.links() == {
        "EMR Cluster": f"{page}?uri=",
        "Logs": f"{page}?uri=s3%3A//fruits/logs/emr/{cluster}/",
    }


@pytest.mark.parametrize("base", ["https://airflow.example/team", "https://airflow.example/team/"])
def test_report_link_is_below_airflows_base_url(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    key = SimpleNamespace(dag_id="fruits_features", run_id="manual__2026-03-01T00:00:00+00:00")

    assert ReportLink().get_link(SimpleNamespace(), ti_key=key) == (  # type: ignore[arg-type]
        "https://airflow.example/team/fruits/dags/fruits_features/dag_runs/manual__2026-03-01T00%3A00%3A00%2B00%3A00/report"
    )
