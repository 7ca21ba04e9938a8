"""Instance fleets: the requested nodes are listed, from their creation until after their end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.artifacts.bundle import ArtifactUris
from include.emr import requests
from include.emr.costs import actual
from include.emr.prices import price_table
from include.emr.sizing import Nodes
from include.emr.tags import ClusterOwner
from include.settings import Settings

if TYPE_CHECKING:
    from tests.unit.include.dev.local_aws.conftest import Emr


def _job_flow(emr: Emr) -> dict[str, Any]:
    """Create a cluster as the DAG does, without files in S3."""
    cluster = requests.Cluster(
        owner=ClusterOwner("tests", "fruits_features", "fleets"),
        run="r",
        dag_owner="fruits",
        bucket=emr.bucket,
        artifacts=ArtifactUris("s3://a.zip", "s3://l.py", "s3://b.sh", "s3://wheels/"),
        nodes=Nodes(core=1, task=2),
    )
    return requests.job_flow(Settings(), cluster, price_table()) | {"BootstrapActions": []}


def _instances(emr: Emr, cluster: str, **request: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - boto3's own
    pages = emr.api.get_paginator("list_instances").paginate(ClusterId=cluster, **request)
    return [one for page in pages for one in page["Instances"]]


def test_cluster_of_fleets_lists_the_nodes_that_were_asked_for(emr: Emr) -> None:
    cluster = emr.api.run_job_flow(**_job_flow(emr))["JobFlowId"]
    emr.wait(cluster, "WAITING")

    fleets = emr.api.list_instance_fleets(ClusterId=cluster)["InstanceFleets"]
    assert [(one["InstanceFleetType"], one["Status"]["State"]) for one in fleets] == [
        ("MASTER", "RUNNING"),
        ("CORE", "RUNNING"),
        ("TASK", "RUNNING"),
    ]
    assert fleets[2]["ProvisionedSpotCapacity"] == fleets[2]["TargetSpotCapacity"] == 16
    found = [(one["InstanceType"], one["Market"]) for one in _instances(emr, cluster)]
    assert found == [("m7g.xlarge", "ON_DEMAND"), ("m7g.2xlarge", "ON_DEMAND"), *[("m7g.2xlarge", "SPOT")] * 2]
    assert len({one["Ec2InstanceId"] for one in _instances(emr, cluster)}) == 4
    assert emr.api.describe_cluster(ClusterId=cluster)["Cluster"]["InstanceCollectionType"] == "INSTANCE_FLEET"


def test_instances_are_listed_by_fleet_type_and_state(emr: Emr) -> None:
    cluster = emr.api.run_job_flow(**_job_flow(emr))["JobFlowId"]
    emr.wait(cluster, "WAITING")
    core = emr.api.list_instance_fleets(ClusterId=cluster)["InstanceFleets"][1]["Id"]

    assert [one["InstanceFleetId"] for one in _instances(emr, cluster, InstanceFleetId=core)] == [core]
    assert {one["Market"] for one in _instances(emr, cluster, InstanceFleetType="TASK")} == {"SPOT"}
    assert _instances(emr, cluster, InstanceStates=["TERMINATED"]) == []


def test_instances_of_ended_cluster_have_the_times_for_their_cost(emr: Emr) -> None:
    cluster = emr.api.run_job_flow(**_job_flow(emr))["JobFlowId"]
    emr.wait(cluster, "WAITING")
    emr.api.terminate_job_flows(JobFlowIds=[cluster])
    ended = emr.wait(cluster, "TERMINATED")["Timeline"]

    instances = _instances(emr, cluster)
    assert {one["Status"]["State"] for one in instances} == {"TERMINATED"}
    assert all(one["Status"]["Timeline"] == ended for one in instances)
    cost = actual(instances, price_table(), datetime.now(UTC))
    # a minute each, which is the minimum billed: primary 0.1819 + 0.0408, core 0.3638 + 0.0816, task half of 0.3638
    assert cost.dollars == round((0.2227 + 0.4454 + 2 * (0.1819 + 0.0816)) / 60, 4)


def test_cluster_of_groups_has_no_fleets_and_lists_its_instances(emr: Emr) -> None:
    cluster = emr.create()
    emr.wait(cluster, "WAITING")

    assert emr.api.list_instance_fleets(ClusterId=cluster)["InstanceFleets"] == []
    assert [one["InstanceType"] for one in _instances(emr, cluster)] == ["m5.xlarge"]
    assert emr.api.describe_cluster(ClusterId=cluster)["Cluster"]["InstanceCollectionType"] == "INSTANCE_GROUP"
