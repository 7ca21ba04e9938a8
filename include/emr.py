"""The requests we make of EMR: settings and parameters in, job-flow and step dictionaries out. Pure: no AWS call.

Sources: EMR's API reference (RunJobFlow, AddJobFlowSteps) and its release guide for `emr-spark-8.x`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fruits_features.arguments import Arguments
    from include.artifacts import ArtifactUris
    from include.settings import Settings

APPLICATION_TAG = "fruits-image-features"
EMR_MAY_MANAGE = {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}
"""EMR's service role may touch only what carries it (`AmazonEMRServicePolicy_v2`, also of `EMR_DefaultRole_V2`)."""
PYTHON = "python3.11"
"""PySpark's interpreter on `emr-spark-8.x`, whose system Python is 3.9."""


@dataclass(frozen=True)
class Cluster:
    """What tells one run's cluster from another's.

    Args:
        name: unique to the DAG run; a retry finds its cluster by it.
        run: the run's name, for tags.
        bucket: where logs go.
        region: where the bucket is; EMR does not tell its nodes' programs.
        artifacts: what the cluster runs.
    """

    name: str
    run: str
    bucket: str
    region: str
    artifacts: ArtifactUris


def job_flow(settings: Settings, cluster: Cluster) -> dict[str, Any]:
    """A RunJobFlow request for one transient cluster, which lives as long as its run.

    `KeepJobFlowAliveWhenNoSteps` is on because the step comes later, from another task; `AutoTerminationPolicy` is
    AWS's own safety net for the day when Airflow cannot end the cluster.

    Args:
        settings: the deployment's.
        cluster: the run's.
    """
    request: dict[str, Any] = {
        "Name": cluster.name,
        "ReleaseLabel": settings.emr_release,
        "Applications": [{"Name": "Spark"}],
        "LogUri": f"s3://{cluster.bucket}/{settings.log_prefix}",
        "ServiceRole": settings.emr_service_role,
        "JobFlowRole": settings.emr_instance_profile,
        "VisibleToAllUsers": True,
        "Instances": _instances(settings),
        "AutoTerminationPolicy": {"IdleTimeout": settings.emr_idle_timeout_s},
        "BootstrapActions": [
            {
                "Name": "install the application's requirements",
                "ScriptBootstrapAction": {"Path": cluster.artifacts.bootstrap},
            }
        ],
        "Configurations": _configurations(cluster.region),
        "Tags": [
            {"Key": "application", "Value": APPLICATION_TAG},
            {"Key": "run", "Value": cluster.run},
            EMR_MAY_MANAGE,
        ],
    }
    if settings.emr_security_configuration:
        request["SecurityConfiguration"] = settings.emr_security_configuration
    return request


def _configurations(region: str) -> list[dict[str, Any]]:
    """Spark's settings for the shape of this job: wide rows, and executors that fetch from S3 themselves."""
    return [
        {
            "Classification": "spark-defaults",
            "Properties": {
                "spark.pyspark.python": PYTHON,
                "spark.pyspark.driver.python": PYTHON,
                "spark.executorEnv.AWS_REGION": region,
            },
        },
        {
            "Classification": "spark-env",
            "Properties": {},
            "Configurations": [{"Classification": "export", "Properties": {"AWS_REGION": region}}],
        },
    ]


def _instances(settings: Settings) -> dict[str, Any]:
    instances: dict[str, Any] = {
        "KeepJobFlowAliveWhenNoSteps": True,
        "TerminationProtected": False,
        "InstanceGroups": [
            {
                "Name": "primary",
                "InstanceRole": "MASTER",
                "InstanceType": settings.emr_primary_instance_type,
                "InstanceCount": 1,
            },
            {
                "Name": "core",
                "InstanceRole": "CORE",
                "InstanceType": settings.emr_core_instance_type,
                "InstanceCount": settings.emr_core_instances,
            },
        ],
    }
    if settings.emr_subnet_id:
        instances["Ec2SubnetId"] = settings.emr_subnet_id
    return instances | _security_groups(settings)


def _security_groups(settings: Settings) -> dict[str, str]:
    """The deployment's groups; EMR makes its own where none is named."""
    named = {
        "EmrManagedMasterSecurityGroup": settings.emr_primary_security_group,
        "EmrManagedSlaveSecurityGroup": settings.emr_core_security_group,
        "ServiceAccessSecurityGroup": settings.emr_service_security_group,
    }
    return {key: group for key, group in named.items() if group}


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
