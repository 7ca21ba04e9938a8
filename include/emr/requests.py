"""Requests to EMR: the cluster (RunJobFlow) and its step (AddJobFlowSteps). No AWS call.

Sources: EMR's API Reference and its Release Guide for `emr-spark-8.x`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from include.emr.sizing import (
    EXECUTOR_HEAP_MB,
    EXECUTOR_PYTHON_MB,
    EXECUTOR_VCPUS,
    MASTER_HEAP_MB,
    MASTER_OVERHEAD_MB,
    fleets,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fruits_features.contract.arguments import Arguments
    from include.artifacts.bundle import ArtifactUris
    from include.emr.prices import PriceTable
    from include.emr.sizing import Fleet, Nodes
    from include.emr.tags import ClusterOwner
    from include.settings import Settings

EMR_MAY_MANAGE = {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}
"""Tag of the resources that EMR's service role may manage (`AmazonEMRServicePolicy_v2`, in `EMR_DefaultRole_V2`)."""
PYTHON = "python3.11"
"""PySpark's interpreter on `emr-spark-8.x`, and one of two on `emr-7.1` and later. The system's Python is 3.9."""

SPOT_TIMEOUT_MINUTES = 10
"""Time in which EMR searches for spot capacity at the start, before it starts on-demand instances."""

CORE_LABEL = "CORE"
"""YARN's label of core nodes, which EMR creates if node labels are enabled."""


@dataclass(frozen=True)
class Cluster:
    """Properties of one run's cluster.

    Args:
        owner: DAG run of the cluster. A retry finds the cluster by the owner's tags.
        run: Name of the run, for the tags.
        dag_owner: Owner of the DAG, for the tags.
        bucket: Bucket of the logs.
        artifacts: Files that the cluster installs and runs.
        nodes: Number and kind of the nodes.
    """

    owner: ClusterOwner
    run: str
    dag_owner: str
    bucket: str
    artifacts: ArtifactUris
    nodes: Nodes


def job_flow(settings: Settings, cluster: Cluster, prices: PriceTable) -> dict[str, Any]:
    """Return the RunJobFlow request for a run's transient cluster.

    `KeepJobFlowAliveWhenNoSteps` is set because another task adds the step later. With `AutoTerminationPolicy`, EMR
    terminates an idle cluster if Airflow cannot.

    Args:
        settings: Settings of the deployment.
        cluster: Properties of the run's cluster.
        prices: Table of prices, with the available instance types.

    Raises:
        ClusterError: The table of prices has no instance type for a fleet.
    """
    request: dict[str, Any] = {
        "Name": cluster.owner.cluster_name,
        "ReleaseLabel": settings.emr_release,
        "Applications": [{"Name": "Spark"}],
        "LogUri": f"s3://{cluster.bucket}/{settings.log_prefix}",
        "ServiceRole": settings.emr_service_role,
        "JobFlowRole": settings.emr_instance_profile,
        "Instances": _instances(settings, fleets(cluster.nodes, settings.emr_architecture, prices)),
        "AutoTerminationPolicy": {"IdleTimeout": settings.emr_idle_timeout_s},
        "BootstrapActions": [
            {
                "Name": "install the application's requirements",
                "ScriptBootstrapAction": {
                    "Path": cluster.artifacts.bootstrap,
                    "Args": [cluster.artifacts.wheelhouse],
                },
            }
        ],
        "Configurations": _configurations(cluster),
        "Tags": tags(cluster, settings.emr_tags),
    }
    if cluster.nodes.task:
        request["ManagedScalingPolicy"] = {"ComputeLimits": _limits(cluster.nodes)}
    if settings.emr_security_configuration:
        request["SecurityConfiguration"] = settings.emr_security_configuration
    return request


def tags(cluster: Cluster, more: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the tags of the cluster and its instances, which also appear on the bill.

    Each key occurs once, as AWS requires (EMR Management Guide, "Restrictions that apply to tagging resources").

    Args:
        cluster: Properties of the run's cluster.
        more: Additional tags of the deployment. They do not replace the tags that identify the cluster.
    """
    own = {tag["Key"]: tag["Value"] for tag in (*cluster.owner.tags(), EMR_MAY_MANAGE)}
    values = {"run": cluster.run, "owner": cluster.dag_owner, **more, **own}
    return [{"Key": key, "Value": value} for key, value in values.items()]


def _limits(nodes: Nodes) -> dict[str, Any]:
    """Return the limits of managed scaling, which may remove idle task nodes and add them again. Core nodes stay."""
    return {
        "UnitType": "InstanceFleetUnits",
        "MinimumCapacityUnits": nodes.core_vcpus,
        "MaximumCapacityUnits": nodes.vcpus,
        "MaximumOnDemandCapacityUnits": nodes.core_vcpus,
        "MaximumCoreCapacityUnits": nodes.core_vcpus,
    }


def _configurations(cluster: Cluster) -> list[dict[str, Any]]:
    """Return the settings of Spark and YARN for one cluster."""
    configurations: list[dict[str, Any]] = [
        {"Classification": "spark-defaults", "Properties": _spark_defaults(cluster)}
    ]
    if cluster.nodes.task:
        configurations.append({"Classification": "yarn-site", "Properties": _node_labels()})
    return configurations


def _spark_defaults(cluster: Cluster) -> dict[str, str]:
    """Return Spark's settings, which leave nearly all memory to Python.

    - `spark.default.parallelism` is the number of the inventory's partitions. Spark's default depends on the cores that
      are present at the start. Nothing runs in Spark SQL, so the number of its partitions does not matter.
    - Spark requests all executors at once. An idle executor ends after a minute, and managed scaling can then remove
      its node.
    - Heterogeneous executors, EMR's default since 5.32 and 6.2, would change the sizes set here. They are for clusters
      with instances of different shapes (EMR Best Practices Guide, "BP 5.1.5").
    - With task nodes, Spark itself requests core nodes for its application master. The setting of `yarn-site` has
      another name in Apache's YARN (`yarn.resourcemanager.node-labels.am.default-node-label-expression`) than in EMR's.
      With labels and without both settings, Apache's YARN starts no application master on core nodes.
    """
    executors = str(cluster.nodes.vcpus // EXECUTOR_VCPUS)
    spark = {
        "spark.pyspark.python": PYTHON,
        "spark.pyspark.driver.python": PYTHON,
        "spark.executor.cores": str(EXECUTOR_VCPUS),
        "spark.executor.memory": f"{EXECUTOR_HEAP_MB}m",
        "spark.executor.memoryOverhead": f"{EXECUTOR_PYTHON_MB}m",
        "spark.yarn.am.memory": f"{MASTER_HEAP_MB}m",
        "spark.yarn.am.memoryOverhead": f"{MASTER_OVERHEAD_MB}m",
        "spark.yarn.heterogeneousExecutors.enabled": "false",
        "spark.default.parallelism": str(cluster.nodes.vcpus),
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.initialExecutors": executors,
        "spark.dynamicAllocation.maxExecutors": executors,
    }
    if cluster.nodes.task:
        spark["spark.yarn.am.nodeLabelExpression"] = CORE_LABEL
    return spark


def _node_labels() -> dict[str, str]:
    """Return YARN's settings that keep the application master on core nodes, which are never spot instances.

    They are only for clusters with task nodes. AWS advises against the default expression for clusters with core nodes
    only (EMR Management Guide, `emr-managed-scaling.html`). Executors have no label and run on core and task nodes,
    since EMR's label is not exclusive (AWS Knowledge Center, `emr-configure-node-labeling-yarn`).
    `tests/spark/test_yarn.py` tests both.
    """
    return {
        "yarn.node-labels.enabled": "true",
        "yarn.node-labels.am.default-node-label-expression": CORE_LABEL,
    }


def _instances(settings: Settings, fleets: Sequence[Fleet]) -> dict[str, Any]:
    instances: dict[str, Any] = {
        "KeepJobFlowAliveWhenNoSteps": True,
        "TerminationProtected": False,
        "InstanceFleets": [_fleet(fleet) for fleet in fleets],
    }
    if settings.emr_subnet_id:
        instances["Ec2SubnetIds"] = [name.strip() for name in settings.emr_subnet_id.split(",")]
    return instances | _security_groups(settings)


def _security_groups(settings: Settings) -> dict[str, str]:
    """Return the deployment's security groups. EMR creates those that are missing."""
    groups = {
        "EmrManagedMasterSecurityGroup": settings.emr_primary_security_group,
        "EmrManagedSlaveSecurityGroup": settings.emr_core_security_group,
        "ServiceAccessSecurityGroup": settings.emr_service_security_group,
    }
    return {key: group for key, group in groups.items() if group}


def _fleet(fleet: Fleet) -> dict[str, Any]:
    """Return the request of one fleet. Its units are virtual CPUs; the primary fleet is one instance."""
    primary, spot = fleet.role == "MASTER", fleet.market == "SPOT"
    specifications: dict[str, Any] = {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}}
    if spot:
        specifications["SpotSpecification"] = {
            "TimeoutDurationMinutes": SPOT_TIMEOUT_MINUTES,
            "TimeoutAction": "SWITCH_TO_ON_DEMAND",
            "AllocationStrategy": "price-capacity-optimized",
        }
    return {
        "Name": "primary" if primary else fleet.role.lower(),
        "InstanceFleetType": fleet.role,
        "TargetSpotCapacity" if spot else "TargetOnDemandCapacity": 1 if primary else fleet.vcpus,
        "InstanceTypeConfigs": [
            {"InstanceType": kind.name, "WeightedCapacity": 1 if primary else kind.vcpus} for kind in fleet.types
        ],
        "LaunchSpecifications": specifications,
    }


def featurize_step(arguments: Arguments, artifacts: ArtifactUris) -> dict[str, Any]:
    """Return the step that runs the application from S3."""
    return _step("featurize and reduce", [artifacts.application], artifacts.launcher, arguments.to_argv())


def validate_step(arguments: Arguments, artifacts: ArtifactUris, published: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the step that measures a run's files for the validation (`include.validation_step`).

    Args:
        arguments: Arguments of the run, as requested.
        artifacts: Files of the cluster.
        published: URIs of the published `projection` and `recogniser`, as far as there are any.
    """
    compared = [f"--published-{name}={uri}" for name, uri in published.items() if uri]
    archives = [artifacts.application, artifacts.validation]
    return _step("validate", archives, artifacts.validator, [*arguments.to_argv(), *compared])


def _step(name: str, archives: Sequence[str], script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return a step that runs a script with Spark.

    In client mode, the step's logs contain the driver's output. With `CONTINUE`, a failed step does not terminate the
    cluster, which the DAG's teardown does.
    """
    return {
        "Name": name,
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [
                "spark-submit",
                "--deploy-mode",
                "client",
                "--py-files",
                ",".join(archives),
                script,
                *arguments,
            ],
        },
    }
