"""Requests to EMR, checked against botocore's model of its API."""

from dataclasses import replace

import pytest

from fruits_features.contract.arguments import Arguments
from include.artifacts.bundle import ArtifactUris
from include.emr import requests
from include.emr.prices import price_table
from include.emr.sizing import SIZES, Nodes
from include.emr.tags import ClusterOwner
from include.settings import Settings
from tests.support.aws_requests import Call, violations

ARTIFACTS = ArtifactUris(
    application="s3://fruits/artifacts/fruits_features-1.zip",
    launcher="s3://fruits/artifacts/launch-2.py",
    bootstrap="s3://fruits/artifacts/bootstrap-3.sh",
    wheelhouse="s3://fruits/artifacts/wheelhouse-4.txt",
)
ARGUMENTS = Arguments(bucket="fruits", inventory="s3://fruits/r/inventory", output="s3://fruits/r", run="r", k=3)

GROUPS = {
    "emr_primary_security_group": "sg-1",
    "emr_core_security_group": "sg-2",
    "emr_service_security_group": "sg-3",
}

CLUSTER = requests.Cluster(
    owner=ClusterOwner("orchard", "fruits_features", "manual__1"),
    run="r",
    dag_owner="fruits",
    bucket="fruits",
    artifacts=ARTIFACTS,
    nodes=Nodes(core=2, task=4),
)


def _job_flow(nodes: Nodes = CLUSTER.nodes, **settings: object) -> dict:
    return requests.job_flow(Settings(**settings), replace(CLUSTER, nodes=nodes), price_table())


def _spark(request: dict) -> dict[str, str]:
    return next(one for one in request["Configurations"] if one["Classification"] == "spark-defaults")["Properties"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"emr_subnet_id": "subnet-1", "emr_security_configuration": "strict"},
        GROUPS,
        {"emr_architecture": "x86_64", "emr_release": "emr-7.10.0"},
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_job_flow_is_a_valid_request(settings: dict, size: str) -> None:
    assert violations(Call("emr", "RunJobFlow", _job_flow(SIZES[size], **settings))) == []


def test_job_flow_names_the_groups_of_the_deployment_or_none() -> None:
    instances = _job_flow(**GROUPS)["Instances"]

    assert instances["EmrManagedMasterSecurityGroup"] == "sg-1"
    assert instances["EmrManagedSlaveSecurityGroup"] == "sg-2"
    assert instances["ServiceAccessSecurityGroup"] == "sg-3"
    assert [key for key in _job_flow()["Instances"] if key.endswith("SecurityGroup")] == []


def test_job_flow_passes_the_wheelhouse_to_the_bootstrap_script() -> None:
    (action,) = _job_flow()["BootstrapActions"]

    assert action["ScriptBootstrapAction"] == {"Path": ARTIFACTS.bootstrap, "Args": [ARTIFACTS.wheelhouse]}


def test_job_flow_has_the_tag_that_emrs_policy_requires() -> None:
    assert {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"} in _job_flow()["Tags"]


def test_featurize_step_is_a_valid_request() -> None:
    step = requests.featurize_step(ARGUMENTS, ARTIFACTS)

    assert violations(Call("emr", "AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [step]})) == []


def test_job_flow_waits_for_its_step_up_to_the_idle_timeout() -> None:
    request = _job_flow(emr_idle_timeout_s=900)

    assert request["Instances"]["KeepJobFlowAliveWhenNoSteps"] is True
    assert request["Instances"]["TerminationProtected"] is False
    assert request["AutoTerminationPolicy"] == {"IdleTimeout": 900}


def test_job_flow_without_subnet_leaves_the_choice_to_emr() -> None:
    assert "Ec2SubnetIds" not in _job_flow()["Instances"]


def test_job_flow_with_several_subnets_lets_emr_choose_among_them() -> None:
    for names in ("subnet-1,subnet-2", "subnet-1, subnet-2"):
        assert _job_flow(emr_subnet_id=names)["Instances"]["Ec2SubnetIds"] == ["subnet-1", "subnet-2"]


def test_job_flow_has_primary_and_core_on_demand_and_task_on_spot_with_a_fallback() -> None:
    primary, core, task = _job_flow()["Instances"]["InstanceFleets"]

    assert (primary["InstanceFleetType"], primary["TargetOnDemandCapacity"]) == ("MASTER", 1)
    assert (core["InstanceFleetType"], core["TargetOnDemandCapacity"]) == ("CORE", 16)
    assert (task["InstanceFleetType"], task["TargetSpotCapacity"]) == ("TASK", 32)
    assert "SpotSpecification" not in primary["LaunchSpecifications"] | core["LaunchSpecifications"]
    assert task["LaunchSpecifications"] == {
        "OnDemandSpecification": {"AllocationStrategy": "lowest-price"},
        "SpotSpecification": {
            "TimeoutDurationMinutes": 10,
            "TimeoutAction": "SWITCH_TO_ON_DEMAND",
            "AllocationStrategy": "price-capacity-optimized",
        },
    }


def test_job_flow_weighs_instances_by_their_virtual_cpus() -> None:
    primary, core, _ = _job_flow()["Instances"]["InstanceFleets"]

    assert {one["WeightedCapacity"] for one in primary["InstanceTypeConfigs"]} == {1}
    assert {one["InstanceType"]: one["WeightedCapacity"] for one in core["InstanceTypeConfigs"]} == {
        "m7g.2xlarge": 8, "m6g.2xlarge": 8, "m7g.4xlarge": 16, "m6g.4xlarge": 16,
    }  # fmt: skip


def test_managed_scaling_only_removes_and_adds_task_nodes() -> None:
    assert _job_flow()["ManagedScalingPolicy"]["ComputeLimits"] == {
        "UnitType": "InstanceFleetUnits",
        "MinimumCapacityUnits": 16,
        "MaximumCapacityUnits": 48,
        "MaximumOnDemandCapacityUnits": 16,
        "MaximumCoreCapacityUnits": 16,
    }


def test_smallest_cluster_has_nothing_to_scale() -> None:
    request = _job_flow(SIZES["small"])

    assert "ManagedScalingPolicy" not in request
    assert [fleet["InstanceFleetType"] for fleet in request["Instances"]["InstanceFleets"]] == ["MASTER", "CORE"]


def test_cluster_is_tagged_with_application_dag_run_owner_and_what_the_deployment_adds() -> None:
    tags = _job_flow(emr_tags={"cost-center": "42"})["Tags"]

    assert {tag["Key"]: tag["Value"] for tag in tags}.items() >= {
        "application": "fruits-image-features", "dag": "fruits_features", "run": "r", "owner": "fruits",
        "deployment": "orchard", "dag_run": "manual__1", "cost-center": "42",
    }.items()  # fmt: skip
    assert ClusterOwner.of(tags) == CLUSTER.owner


def test_tags_of_the_deployment_do_not_replace_those_that_identify_the_cluster() -> None:
    tags = _job_flow(emr_tags={"application": "orchards", "owner": "ada"})["Tags"]

    keys = [tag["Key"] for tag in tags]
    assert len(keys) == len(set(keys))
    assert ClusterOwner.of(tags) == CLUSTER.owner
    assert {"Key": "owner", "Value": "ada"} in tags


def _mb(spark: dict[str, str], *names: str) -> int:
    return sum(int(spark[name].removesuffix("m")) for name in names)


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
@pytest.mark.parametrize("size", SIZES)
def test_executors_use_all_virtual_cpus_of_each_type_that_a_size_may_get_and_none_twice(
    size: str, architecture: str
) -> None:
    request = _job_flow(SIZES[size], emr_architecture=architecture)
    spark = _spark(request)
    executor_mb = _mb(spark, "spark.executor.memory", "spark.executor.memoryOverhead")
    master_mb = _mb(spark, "spark.yarn.am.memory", "spark.yarn.am.memoryOverhead")
    fleets = [one for one in request["Instances"]["InstanceFleets"] if one["InstanceFleetType"] != "MASTER"]

    for name in {one["InstanceType"] for fleet in fleets for one in fleet["InstanceTypeConfigs"]}:
        node = price_table().named(name)
        for master in (0, master_mb):
            used = (node.yarn_memory_mb - master) // executor_mb * int(spark["spark.executor.cores"])
            assert 0.9 * node.vcpus <= used <= node.vcpus, f"{name}: {used} of {node.vcpus} virtual CPUs"


def test_executors_keep_the_size_that_fills_a_node() -> None:
    assert _spark(_job_flow())["spark.yarn.heterogeneousExecutors.enabled"] == "false"


def test_application_master_stays_on_core_nodes_where_there_are_task_nodes() -> None:
    request = _job_flow(SIZES["medium"])
    (yarn,) = [one["Properties"] for one in request["Configurations"] if one["Classification"] == "yarn-site"]

    assert yarn["yarn.node-labels.enabled"] == "true"
    assert (
        yarn["yarn.node-labels.am.default-node-label-expression"]
        == _spark(request)["spark.yarn.am.nodeLabelExpression"]
        == "CORE"
    )


def test_cluster_of_core_nodes_alone_has_no_node_labels() -> None:
    request = _job_flow(SIZES["small"])

    assert "yarn-site" not in [one["Classification"] for one in request["Configurations"]]
    assert "spark.yarn.am.nodeLabelExpression" not in _spark(request)


def test_work_is_partitioned_for_all_cores_including_later_spot_nodes() -> None:
    spark = _spark(_job_flow(Nodes(core=2, task=4)))

    assert spark["spark.default.parallelism"] == "48"
    assert spark["spark.dynamicAllocation.initialExecutors"] == spark["spark.dynamicAllocation.maxExecutors"] == "12"


def test_featurize_step_runs_the_copy_in_s3_with_parsable_arguments() -> None:
    words = requests.featurize_step(ARGUMENTS, ARTIFACTS)["HadoopJarStep"]["Args"]

    assert words[:6] == [
        "spark-submit", "--deploy-mode", "client", "--py-files", ARTIFACTS.application, ARTIFACTS.launcher,
    ]  # fmt: skip
    assert Arguments.from_argv(words[6:]) == ARGUMENTS


def test_validate_step_ships_both_archives_and_names_the_published_files() -> None:
    artifacts = replace(ARTIFACTS, validation="s3://fruits/v.zip", validator="s3://fruits/v.py")
    step = requests.validate_step(ARGUMENTS, artifacts, {"projection": "s3://fruits/p.npz", "recogniser": None})
    words = step["HadoopJarStep"]["Args"]

    assert violations(Call("emr", "AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [step]})) == []
    assert words[4:6] == [f"{ARTIFACTS.application},s3://fruits/v.zip", "s3://fruits/v.py"]
    assert words[-1] == "--published-projection=s3://fruits/p.npz"
    assert Arguments.from_argv(words[6:-1]) == ARGUMENTS
