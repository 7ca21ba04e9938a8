"""Settings that differ between deployments: bucket, roles, network and cluster hardware.

This is the only module that reads `FRUITS_*` variables. Values that differ between runs are `Param`s of the DAG. boto3
finds credentials, region and endpoints itself: standard variables, profiles and roles, or Airflow's AWS connection.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from fruits_features.contract.arguments import DEFAULT_MAX_IMAGE_BYTES, DEFAULT_MAX_IMAGE_PIXELS
from fruits_features.contract.layout import BUCKET_PATTERN, PREFIX_PATTERN

BucketName = Annotated[str, StringConstraints(pattern=BUCKET_PATTERN)]
Prefix = Annotated[str, StringConstraints(pattern=PREFIX_PATTERN)]


Architecture = Literal["arm64", "x86_64"]


class Settings(BaseSettings):
    """Values of the variables `FRUITS_<NAME>`, read when a task runs and never while a DAG is parsed."""

    model_config = SettingsConfigDict(env_prefix="FRUITS_", frozen=True, extra="ignore")

    bucket: BucketName = "fruits"
    """Bucket of images, artifacts, features and logs. Runs may read and write another one (DAG parameter `bucket`)."""
    deployment: str | None = Field(default=None, pattern=r"^[\w.:/=+@ -]{1,128}$")
    """Name of this deployment, by default the bucket's. It tags clusters, so Airflow installations that share account
    and bucket need different names."""
    image_prefix: Prefix = "images/"
    """Key prefix of the images. Runs may read another one (DAG parameter `image_prefix`)."""
    artifact_prefix: Prefix = "artifacts/"
    """Key prefix of the application, the bootstrap script and the wheels of clusters."""
    log_prefix: Prefix = "logs/emr/"
    """Key prefix of the clusters' logs."""
    inventory_report: str | None = Field(default=None, pattern=r"^s3://[^/]+/.+")
    """Folder of the S3 Inventory reports of the bucket. Set: read the newest report instead of listing the bucket."""

    max_image_bytes: int = Field(default=DEFAULT_MAX_IMAGE_BYTES, ge=1)
    """Largest object in bytes. Larger objects are quarantined without being fetched."""
    max_image_pixels: int = Field(default=DEFAULT_MAX_IMAGE_PIXELS, ge=1)
    """Largest image in pixels. Larger images are quarantined without being decoded."""

    retention_days: int = Field(default=90, ge=0)
    """Delete runs not modified for this many days. 0: keep all."""
    retention_runs: int = Field(default=3, ge=1)
    """Number of published runs of each data set to keep, newest first, regardless of age."""

    emr_release: str = Field(default="emr-spark-8.1.0", pattern=r"^emr-(spark-8\.\d+|7\.[1-9]\d*)\.\d+$")
    """EMR release with Python 3.11 for PySpark: `emr-spark-8.x` (Spark 4), or `emr-7.1.0` and later (Spark 3.5; the
    tests of the job pass with 3.5.6)."""
    emr_service_role: str = "EMR_DefaultRole_V2"
    """Role with which EMR creates instances."""
    emr_instance_profile: str = "EMR_EC2_DefaultRole"
    """Instance profile of the nodes, whose role reads images and writes features."""
    emr_subnet_id: str | None = Field(default=None, pattern=r"^(subnet-\w+(, *subnet-\w+)*)?$")
    """Subnet of the clusters. With several, separated by commas, EMR chooses one that has capacity."""
    emr_security_configuration: str | None = None
    """EMR security configuration, which encrypts disks and traffic."""
    emr_primary_security_group: str | None = None
    """Security group of the primary node."""
    emr_core_security_group: str | None = None
    """Security group of core and task nodes."""
    emr_service_security_group: str | None = None
    """Security group through which EMR reaches nodes in a private subnet."""
    emr_architecture: Architecture = "arm64"
    """Architecture of the nodes' processors. arm64 is Graviton."""
    emr_max_nodes: int = Field(default=32, ge=1, le=200)
    """Largest number of nodes of 8 vCPUs that `cluster_size: auto` requests."""
    emr_images_per_core_s: float = Field(default=200, gt=0)
    """Images of 5 KB that one core processes per second with the default features. `cluster_size: auto` computes the
    number of nodes from it.

    The default is a quarter of the speed measured (docs/measurements/speed.md), because no EMR node was measured. With
    the family `onnx`, an image counts as ten images (`contract.workload.EMBEDDING_BYTES`). Lower the setting for larger
    models and for pixels.
    """
    emr_idle_timeout_s: int = Field(default=1800, ge=60, le=604_800)
    """Idle seconds after which EMR terminates a cluster itself (EMR's limits: 60 s to 7 days)."""
    emr_tags: dict[str, str] = {}
    """Additional cluster tags as JSON, for example a cost centre. They do not replace the tags that identify a cluster,
    such as `application`."""
    emr_poll_s: int = Field(default=5, ge=1, le=300)
    """Seconds between status requests for a cluster or a step. EMR throttles accounts that poll too often."""
    step_timeout_s: int = Field(default=6 * 3600, ge=1)
    """Seconds after which a running step is cancelled."""
    no_cluster_below: int = Field(default=1000, ge=0)
    """A rerun with fewer new images runs on the Airflow worker, without a cluster. 0: always create a cluster."""
    no_cluster_memory_mb: int = Field(default=2048, ge=128)
    """Largest memory of such a run on the worker in MB. Above it, the run is ended and a cluster is created."""
    validate_on_cluster_above: int = Field(default=2_000_000, ge=0)
    """Number of images above which the run's cluster reads the rows for the validation and the report, in a second
    step. 0: the Airflow worker always reads them."""
    log_wait_s: int = Field(default=360, ge=0, le=3600)
    """Seconds that a failed task waits for its cluster to end, and then for its logs. EMR delivers logs every five
    minutes."""
    alert_topic_arn: str | None = Field(default=None, pattern=r"^arn:aws[\w-]*:sns:[\w-]+:\d{12}:[\w-]+$")
    """SNS topic that receives a message for each task that failed after its last retry."""

    @property
    def deployment_name(self) -> str:
        """Value of the clusters' deployment tag: the deployment's name, or the bucket's, which is unique in AWS."""
        return self.deployment or self.bucket

    prices: Path | None = None
    """Table of prices and instance types that replaces `include/emr/prices.toml`."""


@cache
def settings() -> Settings:
    """Return the deployment's settings, read once per process.

    Raises:
        pydantic.ValidationError: A value is outside its limits. The message names field, value and limit.
    """
    return Settings()
