"""What happens around RunJobFlow: no failure after it leaves a cluster up, no retry makes a second one."""

from __future__ import annotations

import gzip
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.providers.amazon.aws.operators import emr as provider
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.operators import CreateClusterOperator
from fruits_airflow.sensors import ClusterReadySensor
from fruits_airflow.step_logs import TAIL_LINES, fetch_tails

if TYPE_CHECKING:
    from include.local_aws.local import LocalAws

REQUEST = {
    "ReleaseLabel": "emr-spark-8.1.0",
    "ServiceRole": "EMR_DefaultRole_V2",
    "JobFlowRole": "EMR_EC2_DefaultRole",
    "LogUri": "s3://fruits/logs/emr/",
    "Instances": {
        "KeepJobFlowAliveWhenNoSteps": True,
        "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m7g.xlarge", "InstanceCount": 1}],
    },
}


pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture(autouse=True)
def _no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """No link is stored, since there is no task instance."""
    for link in ("EmrClusterLink", "EmrLogsLink"):
        monkeypatch.setattr(provider, link, SimpleNamespace(persist=lambda **_: None))


def _operator(name: str) -> CreateClusterOperator:
    return CreateClusterOperator(task_id="create_cluster", job_flow_overrides={"Name": name, **REQUEST})


def _named(aws: LocalAws, name: str) -> list[str]:
    return [cluster["Id"] for cluster in aws.emr().list_clusters()["Clusters"] if cluster["Name"] == name]


def test_create_cluster_that_fails_after_emr_accepted_it_ends_the_cluster(
    local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> str:
        raise PermissionError("DescribeCluster is not allowed")

    monkeypatch.setattr(provider, "get_log_uri", refused)

    with pytest.raises(PermissionError):
        _operator("half-way").execute({})

    (cluster,) = _named(local_aws, "half-way")
    local_aws.emr().get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})


def test_create_cluster_again_adopts_the_cluster_of_the_first_try(local_aws: LocalAws) -> None:
    first = _operator("retried").execute({})
    second = _operator("retried").execute({})
    local_aws.emr().terminate_job_flows(JobFlowIds=[str(first)])

    assert first == second
    assert _named(local_aws, "retried") == [first]


def test_create_cluster_asks_emr_once_a_try() -> None:
    assert _operator("once").hook.conn.meta.config.retries["total_max_attempts"] == 1


def test_cluster_that_ended_fails_the_wait_at_once_with_emrs_reason(local_aws: LocalAws) -> None:
    emr = local_aws.emr()
    cluster = str(_operator("ended").execute({}))
    emr.terminate_job_flows(JobFlowIds=[cluster])
    emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})
    sensor = ClusterReadySensor(task_id="cluster_ready", job_flow_id=cluster)
    sensor.get_emr_response = lambda context: emr.describe_cluster(ClusterId=cluster)  # noqa: ARG005 - stores no link

    with pytest.raises(AirflowFailException, match=rf"Cluster {cluster} ended before it was ready: .*USER_REQUEST"):
        sensor.execute({})


def test_fetch_tails_gives_the_last_lines_of_both_streams(local_aws: LocalAws) -> None:
    s3 = local_aws.s3()
    emr = SimpleNamespace(describe_cluster=lambda **_: {"Cluster": {"LogUri": "s3n://fruits/some/prefix/"}})
    folder = "some/prefix/j-1/steps/s-1/"
    lines = "\n".join(str(n) for n in range(100))
    s3.put_object(Bucket="fruits", Key=folder + "stderr.gz", Body=gzip.compress(lines.encode()))
    s3.put_object(Bucket="fruits", Key=folder + "stdout.txt.gz", Body=gzip.compress(b"done\n"))
    s3.put_object(Bucket="fruits", Key=folder + "controller.gz", Body=gzip.compress(b"INFO"))

    tails = fetch_tails(emr, s3, cluster_id="j-1", step_id="s-1")

    assert tails["stdout"] == "done"
    assert tails["stderr"].splitlines() == [str(n) for n in range(100 - TAIL_LINES, 100)]
    assert set(tails) == {"stderr", "stdout"}


def test_fetch_tails_of_a_cluster_without_logs_gives_nothing(local_aws: LocalAws) -> None:
    emr = SimpleNamespace(describe_cluster=lambda **_: {"Cluster": {}})

    assert fetch_tails(emr, local_aws.s3(), cluster_id="j-1", step_id="s-1") == {}
