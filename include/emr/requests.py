"""The requests we make of EMR: settings and parameters in, job-flow and step dictionaries out. Pure: no AWS call.

Sources: EMR's API reference (RunJobFlow, AddJobFlowSteps) and its release guide for `emr-spark-8.x`.
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
"""EMR's service role may touch only what carries it (`AmazonEMRServicePolicy_v2`, also of `EMR_DefaultRole_V2`)."""
PYTHON = "python3.11"
"""PySpark's interpreter on `emr-spark-8.x`, and one of two on `emr-7.1` and later; the system's Python is 3.9."""

SPOT_TIMEOUT_MINUTES = 10
"""How long EMR looks for spot capacity while the cluster starts, before it takes instances on demand."""

CORE_LABEL = "CORE"
"""YARN's node label of core nodes, which EMR makes where node labels are enabled."""


@dataclass(frozen=True)
class Cluster:
    """What tells one run's cluster from another's.

    Args:
        origin: the DAG run it works for; a retry finds its cluster by the origin's tags.
        run: the run's name, for tags.
        owner: who answers for the DAG, for tags.
        bucket: where logs go.
        artifacts: what the cluster runs.
        nodes: how many there are.
    """

    origin: ClusterOwner
    run: str
    owner: str
    bucket: str
    artifacts: ArtifactUris
    nodes: Nodes


def job_flow(settings: Settings, cluster: Cluster, prices: PriceTable) -> dict[str, Any]:
    """A RunJobFlow request for one transient cluster, which lives as long as its run.

    `KeepJobFlowAliveWhenNoSteps` is on because the step comes later, from another task; `AutoTerminationPolicy` is
    AWS's own safety net for the day when Airflow cannot end the cluster.

    Args:
        settings: the deployment's.
        cluster: the run's.
        prices: tell which instance types there are.

    Raises:
        ClusterError: the table of prices has no instance type for a fleet.
    """
    request: dict[str, Any] = {
        "Name": cluster.origin.cluster_name,
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
    """What the cluster, its instances and the bill say of where they are from, and what the deployment adds."""
    told = {"run": cluster.run, "owner": cluster.owner, **more}
    return [*cluster.origin.tags(), *({"Key": key, "Value": value} for key, value in told.items()), EMR_MAY_MANAGE]


def _limits(nodes: Nodes) -> dict[str, Any]:
    """Managed scaling may take away task nodes that have nothing to do, and give them back; core nodes stay."""
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
    """Return Spark's settings for the shape of this job: nearly all memory for Python.

    - The application cuts its inventory by `spark.default.parallelism`. Spark would count the cores that are there when
      it starts. Nothing goes through Spark SQL, so neither its partitions nor Arrow's batches matter.
    - All executors are asked for at once. One with nothing left to do goes after a minute, and managed scaling
      can take its node.
    - Executors of different sizes, EMR's default since 5.32 and 6.2, are for instances of different shapes (EMR Best
      Practices Guide, "BP 5.1.5"). They would undo the sizes here.
    - With task nodes, Spark asks for its application master on core nodes by itself: `yarn-site` has another name for
      that in Apache's YARN (`yarn.resourcemanager.node-labels.am.default-node-label-expression`) than in EMR's. With
      labels and neither, Apache's YARN never starts an application master on a cluster of core nodes alone.
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
    """Return YARN's settings that keep the application master on core nodes, where no spot instance is taken away.

    Only for clusters with task nodes: AWS advises against the default expression where application master and executors
    share nothing but core nodes (EMR Management Guide, `emr-managed-scaling.html`). Executors have no label and run on
    core and task nodes, since EMR's label is not exclusive (AWS Knowledge Center, `emr-configure-node-labeling-yarn`).
    `tests/spark/test_yarn.py` shows both.
    """
    return {
        "yarn.node-labels.enabled": "true",
        "yarn.node-labels.am.default-node-label-expression": CORE_LABEL,
    }


def _instances(settings: Settings, wanted: Sequence[Fleet]) -> dict[str, Any]:
    instances: dict[str, Any] = {
        "KeepJobFlowAliveWhenNoSteps": True,
        "TerminationProtected": False,
        "InstanceFleets": [_fleet(fleet) for fleet in wanted],
    }
    if settings.emr_subnet_id:
        instances["Ec2SubnetIds"] = settings.emr_subnet_id.split(",")
    return instances | _security_groups(settings)


def _security_groups(settings: Settings) -> dict[str, str]:
    """The deployment's groups; EMR makes its own where none is named."""
    named = {
        "EmrManagedMasterSecurityGroup": settings.emr_primary_security_group,
        "EmrManagedSlaveSecurityGroup": settings.emr_core_security_group,
        "ServiceAccessSecurityGroup": settings.emr_service_security_group,
    }
    return {key: group for key, group in named.items() if group}


def _fleet(fleet: Fleet) -> dict[str, Any]:
    """One fleet; its units are virtual CPUs, but for the primary's, which is one instance."""
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
            {"InstanceType": one.name, "WeightedCapacity": 1 if primary else one.vcpus} for one in fleet.types
        ],
        "LaunchSpecifications": specifications,
    }


def featurize_step(arguments: Arguments, artifacts: ArtifactUris) -> dict[str, Any]:
    """The step that runs the application from its copy in S3.

    Client mode puts the driver's output into the step's logs, where a failure's cause can be read. `CONTINUE` leaves
    the cluster's end to the DAG's teardown, which alone knows when its work is over.
    """
    return {
        "Name": "featurize and reduce",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [
                "spark-submit",
                "--deploy-mode",
                "client",
                "--py-files",
                artifacts.application,
                artifacts.launcher,
                *arguments.to_argv(),
            ],
        },
    }
