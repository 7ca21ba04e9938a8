"""The janitor ends orphan clusters and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError

from fruits_airflow.tasks import end_forgotten_clusters
from include.emr.tags import ClusterOwner
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from include.dev.local_aws.local import LocalAws

DEPLOYMENT = "janitor"
RUNS = {"running": "running", "queued": "queued", "done": "success", "broken": "failed"}
ENDED = ("TERMINATING", "TERMINATED")


class TaskInstance:
    """Task instance that counts the runs above like Airflow's."""

    @staticmethod
    def get_dr_count(dag_id: str, run_ids: list[str], states: list[str] | None = None) -> int:
        known = [RUNS[run] for run in run_ids if run in RUNS and dag_id == "fruits_features"]
        return len([state for state in known if states is None or state in states])


@pytest.fixture
def run_janitor(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    assert aws_environment
    monkeypatch.setenv("FRUITS_DEPLOYMENT", DEPLOYMENT)
    settings.cache_clear()
    monkeypatch.setattr(end_forgotten_clusters, "get_current_context", lambda: {"ti": TaskInstance()})
    yield end_forgotten_clusters.end_forgotten_clusters.function
    settings.cache_clear()


@pytest.fixture
def create(local_aws: LocalAws) -> Iterator[Callable[..., str]]:
    emr, created = local_aws.emr(), []

    def make(run_id: str, *, deployment: str = DEPLOYMENT, protected: bool = False, **request: Any) -> str:  # noqa: ANN401
        owner = ClusterOwner(deployment, "fruits_features", run_id)
        instances = {"KeepJobFlowAliveWhenNoSteps": True, "TerminationProtected": protected}
        request = {"Name": owner.cluster_name, "Tags": owner.tags(), "Instances": instances, **request}
        created.append(emr.run_job_flow(**request)["JobFlowId"])
        return str(created[-1])

    yield make
    emr.set_termination_protection(JobFlowIds=created, TerminationProtected=False)
    emr.terminate_job_flows(JobFlowIds=created)
    for cluster in created:
        emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})


def _state(aws: LocalAws, cluster: str) -> str:
    return aws.emr().describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"]


def test_janitor_ends_clusters_of_ended_and_unknown_runs(
    local_aws: LocalAws, run_janitor: Callable[[], Any], create: Callable[..., str]
) -> None:
    clusters = {run: create(run) for run in ("running", "queued", "done", "broken", "never heard of")}

    report = run_janitor()

    assert {record["run_id"]: (record["run"], record["done"]) for record in report} == {
        "running": ("under way", "kept"),
        "queued": ("under way", "kept"),
        "done": ("over", "ended"),
        "broken": ("over", "ended"),
        "never heard of": ("unknown", "ended"),
    }
    assert {record["run_id"]: record["cluster"] for record in report} == clusters
    for run, cluster in clusters.items():
        assert (_state(local_aws, cluster) in ENDED) == (run not in {"running", "queued"}), run


def test_janitor_does_not_end_clusters_of_other_owners(
    local_aws: LocalAws, run_janitor: Callable[[], Any], create: Callable[..., str]
) -> None:
    application = {"Key": "application", "Value": "another"}
    others = [
        create("done", deployment="another"),
        create("done", Name="of another team"),
        create("done", Tags=[]),
        create("done", Tags=[*ClusterOwner(DEPLOYMENT, "fruits_features", "done").tags()[1:], application]),
    ]

    assert run_janitor() == []
    assert [cluster for cluster in others if _state(local_aws, cluster) in ENDED] == []


def test_janitor_warns_about_a_protected_cluster_and_continues(
    run_janitor: Callable[[], Any], create: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    protected, other = create("done", protected=True), create("broken")

    report = run_janitor()

    assert [(record["cluster"], record["done"]) for record in report] == [(protected, "protected"), (other, "ended")]
    assert f"--cluster-id {protected} --no-termination-protected" in caplog.text


def test_janitor_without_permission_for_a_cluster_fails_after_checking_all(
    run_janitor: Callable[[], Any], create: Callable[..., str], monkeypatch: pytest.MonkeyPatch, local_aws: LocalAws
) -> None:
    denied, other = create("done"), create("broken")
    emr = local_aws.emr()
    owneral = emr.terminate_job_flows

    def terminate(JobFlowIds: list[str]) -> Any:  # noqa: ANN401, N803 - boto3's signature
        if JobFlowIds == [denied]:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "TerminateJobFlows")
        return owneral(JobFlowIds=JobFlowIds)

    monkeypatch.setattr(emr, "terminate_job_flows", terminate)
    monkeypatch.setattr(end_forgotten_clusters.EmrHook, "conn", emr)

    with pytest.raises(AirflowException, match=rf"Clusters could not be ended: {denied}\."):
        run_janitor()
    assert _state(local_aws, other) in ENDED
