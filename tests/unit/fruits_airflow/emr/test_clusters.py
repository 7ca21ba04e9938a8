"""A failure after RunJobFlow leaves no active cluster, and a retry creates no second cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.providers.amazon.aws.operators import emr as provider
from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError, ConnectionClosedError
from tenacity import wait_none

from fruits_airflow.emr.operators import CreateClusterOperator
from fruits_airflow.emr.owned_clusters import owned
from fruits_airflow.emr.sensors import ClusterReadySensor
from fruits_airflow.hooks.aws import RETRY_CONFIG, CreateHook
from include.dev.local_aws.emr.faults import FAULT_TAG
from include.emr.tags import ClusterOwner

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

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
CONTEXT: Any = {"ti": Mock(), "task": Mock()}

pytestmark = pytest.mark.usefixtures("aws_environment")


def _owner(run_id: str, deployment: str = "tests") -> ClusterOwner:
    return ClusterOwner(deployment, "fruits_features", run_id)


def _request(owner: ClusterOwner) -> dict[str, Any]:
    return {"Name": owner.cluster_name, "Tags": owner.tags(), **REQUEST}


def _operator(run_id: str, fault: str | None = None) -> CreateClusterOperator:
    request = _request(_owner(run_id))
    request["Tags"] += [{"Key": FAULT_TAG, "Value": fault}] if fault else []
    return CreateClusterOperator(task_id="create_cluster", job_flow_overrides=request, botocore_config=RETRY_CONFIG)


def _end(aws: LocalAws, *clusters: str) -> None:
    aws.emr().terminate_job_flows(JobFlowIds=list(clusters))
    for cluster in clusters:
        aws.emr().get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})


def _clusters_of(aws: LocalAws, run_id: str) -> list[str]:
    """Return all active and ended clusters of a run, oldest first."""
    name = _owner(run_id).cluster_name
    listed = aws.emr().get_paginator("list_clusters").paginate().search("Clusters[]")
    clusters = [cluster for cluster in listed if cluster["Name"] == name]
    return [
        cluster["Id"]
        for cluster in sorted(clusters, key=lambda cluster: cluster["Status"]["Timeline"]["CreationDateTime"])
    ]


def test_create_cluster_that_fails_after_runjobflow_ends_the_cluster(
    local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> str:
        raise PermissionError("DescribeCluster is not allowed")

    monkeypatch.setattr(provider, "get_log_uri", refuse)

    with pytest.raises(PermissionError):
        _operator("half-way").execute(CONTEXT)

    (cluster,) = _clusters_of(local_aws, "half-way")
    local_aws.emr().get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})


def test_retried_create_cluster_adopts_the_cluster_of_the_first_try(local_aws: LocalAws) -> None:
    first = _operator("retried").execute(CONTEXT)
    second = _operator("retried").execute(CONTEXT)
    _end(local_aws, str(first))

    assert first == second
    assert _clusters_of(local_aws, "retried") == [first]


def test_create_cluster_of_a_cleared_run_creates_a_new_one_after_the_old_one_has_ended(local_aws: LocalAws) -> None:
    first = str(_operator("cleared").execute(CONTEXT))
    _end(local_aws, first)

    second = str(_operator("cleared").execute(CONTEXT))
    _end(local_aws, second)

    assert _clusters_of(local_aws, "cleared") == [first, second]


def test_create_cluster_adopts_no_cluster_of_another_run_deployment_or_application(local_aws: LocalAws) -> None:
    emr, request = local_aws.emr(), _request(_owner("mine"))
    forged = [tag | {"Value": "another"} if tag["Key"] == "application" else tag for tag in request["Tags"]]
    others = [
        emr.run_job_flow(**other)["JobFlowId"]
        for other in (
            _request(_owner("another")),
            request | {"Tags": _owner("mine", deployment="another").tags()},
            request | {"Tags": forged},
            request | {"Tags": []},
            request | {"Name": "fruits of another application"},
            *(request | {"Tags": [tag for tag in request["Tags"] if tag["Key"] != key]} for key in ("dag", "token")),
        )
    ]

    created = str(_operator("mine").execute(CONTEXT))

    assert created not in others
    assert [cluster.id for cluster in owned(emr, "tests")] == [others[0], created]
    _end(local_aws, *others, created)


def test_create_cluster_that_finds_two_clusters_adopts_the_first_and_ends_the_other(local_aws: LocalAws) -> None:
    emr = local_aws.emr()
    first, second = (emr.run_job_flow(**_request(_owner("twice")))["JobFlowId"] for _ in range(2))

    adopted = _operator("twice").execute(CONTEXT)

    emr.get_waiter("cluster_terminated").wait(ClusterId=second, WaiterConfig={"Delay": 1})
    assert adopted == first
    _end(local_aws, first)


def test_cluster_that_this_role_may_not_describe_is_ignored() -> None:
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeCluster")
    listed = [{"Id": "j-1", "Name": "fruits x", "Status": {"Timeline": {"CreationDateTime": 0}}}]
    emr = Mock()
    emr.get_paginator.return_value.paginate.return_value = [{"Clusters": listed}]
    emr.describe_cluster.side_effect = denied

    assert list(owned(emr, "tests")) == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("refused-for-limit", r"ValidationException: VcpuLimitExceeded.*Service Quotas"),
        ("refused-for-role", r"AccessDeniedException: .*iam:PassRole.*FRUITS_EMR_SERVICE_ROLE"),
        (
            "refused-as-invalid",
            r"ValidationException: .*release label is invalid: emr-spark-8.1.0\).*FRUITS_EMR_RELEASE",
        ),
    ],
)
def test_refused_create_cluster_fails_without_a_retry(local_aws: LocalAws, fault: str, message: str) -> None:
    with pytest.raises(AirflowFailException, match=f"EMR refused to create the cluster .{message}"):
        _operator(fault, fault=fault).execute(CONTEXT)

    assert _clusters_of(local_aws, fault) == []


def test_throttled_create_cluster_retries_and_creates_one(local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CreateHook.create_job_flow.retry, "wait", wait_none())

    created = str(_operator("throttled", fault="throttled:2").execute(CONTEXT))

    assert _clusters_of(local_aws, "throttled") == [created]
    _end(local_aws, created)


def test_create_cluster_with_a_lost_response_is_not_repeated_but_adopted_by_the_next_try(local_aws: LocalAws) -> None:
    with pytest.raises(ConnectionClosedError):
        _operator("lost", fault="answer-lost").execute(CONTEXT)

    adopted = str(_operator("lost", fault="answer-lost").execute(CONTEXT))

    assert _clusters_of(local_aws, "lost") == [adopted]
    _end(local_aws, adopted)


def test_ended_cluster_fails_the_sensor_immediately_with_emrs_reason(local_aws: LocalAws) -> None:
    emr = local_aws.emr()
    cluster = str(_operator("ended").execute(CONTEXT))
    emr.terminate_job_flows(JobFlowIds=[cluster])
    emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig={"Delay": 1})
    sensor = ClusterReadySensor(task_id="cluster_ready", job_flow_id=cluster)

    with pytest.raises(
        AirflowFailException,
        match=rf"ended before it was ready. Cluster {cluster} is TERMINATED \(USER_REQUEST: Terminated by",
    ):
        sensor.execute(CONTEXT)
