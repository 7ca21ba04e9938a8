"""The janitor ends what nobody waits for, and nothing else."""

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

DEPLOYMENT = "swept"
RUNS = {"running": "running", "queued": "queued", "done": "success", "broken": "failed"}
ENDED = ("TERMINATING", "TERMINATED")


class TaskInstance:
    """Answers as Airflow's own does, of the runs above."""

    @staticmethod
    def get_dr_count(dag_id: str, run_ids: list[str], states: list[str] | None = None) -> int:
        known = [RUNS[run] for run in run_ids if run in RUNS and dag_id == "fruits_features"]
        return len([state for state in known if states is None or state in states])


@pytest.fixture
def sweep(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    assert aws_environment
    monkeypatch.setenv("FRUITS_DEPLOYMENT", DEPLOYMENT)
    settings.cache_clear()
    monkeypatch.setattr(end_forgotten_clusters, "get_current_context", lambda: {"ti": TaskInstance()})
    yield end_forgotten_clusters.end_forgotten_clusters.function
    settings.cache_clear()


@pytest.fixture
def create(local_aws: LocalAws) -> Iterator[Callable[..., str]]:
    emr, made = local_aws.emr(), []

    def make(run_id: str, *, deployment: str = DEPLOYMENT, protected: bool = False, **request: Any) -> str:  # noqa: ANN401
        origin = ClusterOwner(deployment, "fruits_features", run_id)
        instances = {"KeepJobFlowAliveWhenNoSteps": True, "TerminationProtected": protected}
        request = {"Name": origin.cluster_name, "Tags": origin.tags(), "Instances": instances, **request}
        made.append(emr.run_job_flow(**request)["JobFlowId"])
        return str(made[-1])

    yield make
    emr.set_termination_protection(JobFlowIds=made, TerminationProtected=False)
    emr.terminate_job_flows(JobFlowIds=made)
    for cluster in made:
        emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})


def _state(aws: LocalAws, cluster: str) -> str:
    return aws.emr().describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"]


def test_janitor_ends_clusters_of_runs_that_are_over_or_unknown(
    local_aws: LocalAws, sweep: Callable[[], Any], create: Callable[..., str]
) -> None:
    clusters = {run: create(run) for run in ("running", "queued", "done", "broken", "never heard of")}

    report = sweep()

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


def test_janitor_touches_no_cluster_of_others(
    local_aws: LocalAws, sweep: Callable[[], Any], create: Callable[..., str]
) -> None:
    application = {"Key": "application", "Value": "another"}
    others = [
        create("done", deployment="another"),
        create("done", Name="of another team"),
        create("done", Tags=[]),
        create("done", Tags=[*ClusterOwner(DEPLOYMENT, "fruits_features", "done").tags()[1:], application]),
    ]

    assert sweep() == []
    assert [cluster for cluster in others if _state(local_aws, cluster) in ENDED] == []


def test_janitor_leaves_a_protected_cluster_with_a_warning_and_goes_on(
    sweep: Callable[[], Any], create: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    protected, other = create("done", protected=True), create("broken")

    report = sweep()

    assert [(record["cluster"], record["done"]) for record in report] == [(protected, "protected"), (other, "ended")]
    assert f"--cluster-id {protected} --no-termination-protected" in caplog.text


def test_janitor_that_may_not_end_a_cluster_fails_after_looking_at_all(
    sweep: Callable[[], Any], create: Callable[..., str], monkeypatch: pytest.MonkeyPatch, local_aws: LocalAws
) -> None:
    denied, other = create("done"), create("broken")
    emr = local_aws.emr()
    original = emr.terminate_job_flows

    def terminate(JobFlowIds: list[str]) -> Any:  # noqa: ANN401, N803 - boto3's own
        if JobFlowIds == [denied]:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "TerminateJobFlows")
        return original(JobFlowIds=JobFlowIds)

    monkeypatch.setattr(emr, "terminate_job_flows", terminate)
    monkeypatch.setattr(end_forgotten_clusters.EmrHook, "conn", emr)

    with pytest.raises(AirflowException, match=f"could not be ended, see above: {denied}."):
        sweep()
    assert _state(local_aws, other) in ENDED
