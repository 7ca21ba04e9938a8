"""What varies between deployments: bucket, roles, network, machines of the cluster.

The only reader of the environment. What varies between runs is a `Param` of the DAG; credentials, region and
endpoints are boto3's own business (its standard variables, profiles and roles, or Airflow's AWS connection).
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
    """Read from variables `FRUITS_<NAME>` when a task runs, never while a DAG is parsed."""

    model_config = SettingsConfigDict(env_prefix="FRUITS_", frozen=True, extra="ignore")

    bucket: BucketName = "fruits"
    deployment: str | None = Field(default=None, pattern=r"^[\w.:/=+@ -]{1,128}$")
    """Tells apart the Airflows that share an AWS account and a bucket; none touches another's clusters."""
    image_prefix: Prefix = "images/"
    artifact_prefix: Prefix = "artifacts/"
    log_prefix: Prefix = "logs/emr/"
    inventory_report: str | None = Field(default=None, pattern=r"^s3://[^/]+/.+")
    """Folder of an S3 Inventory configuration's reports on the bucket, to read instead of listing it."""

    max_image_bytes: int = Field(default=DEFAULT_MAX_IMAGE_BYTES, ge=1)
    """A larger object is quarantined without being fetched."""
    max_image_pixels: int = Field(default=DEFAULT_MAX_IMAGE_PIXELS, ge=1)
    """An image of more pixels is quarantined without being decoded."""

    retention_days: int | None = Field(default=None, ge=1)
    """Runs that nothing was written to for so many days are removed; unset: none is."""
    retention_runs: int = Field(default=3, ge=1)
    """Of the published runs, the newest so many stay, however old."""

    emr_release: str = Field(default="emr-spark-8.1.0", pattern=r"^emr-(spark-8\.\d+|7\.[1-9]\d*)\.\d+$")
    """One with Python 3.11 for PySpark: `emr-spark-8.x` (Spark 4), or `emr-7.1.0` and later (Spark 3.5; the
    job's tests pass with 3.5.6)."""
    emr_service_role: str = "EMR_DefaultRole_V2"
    emr_instance_profile: str = "EMR_EC2_DefaultRole"
    emr_subnet_id: str | None = None
    """Where clusters go; several, separated by commas, let EMR choose the one with capacity."""
    emr_security_configuration: str | None = None
    emr_primary_security_group: str | None = None
    emr_core_security_group: str | None = None
    emr_service_security_group: str | None = None
    """The group through which EMR reaches nodes in a private subnet."""
    emr_architecture: Architecture = "arm64"
    emr_max_nodes: int = Field(default=32, ge=1, le=200)
    """The most nodes of 8 virtual CPUs that `cluster_size: auto` takes, whatever the images."""
    emr_images_per_core_s: float = Field(default=200, gt=0)
    """How many images of 5 KB one core describes in a second, by which `auto` counts nodes: a quarter of what was
    measured with the default features (docs/measurements/speed.md), as no core of EMR's was; less with a model or pixels."""
    emr_idle_timeout_s: int = Field(default=1800, ge=60, le=604_800)
    """When AWS itself ends a cluster that nobody ended (EMR's limits: 60 s to 7 days)."""
    emr_tags: dict[str, str] = {}
    """Additional tags of clusters, as JSON: a cost centre, for one."""
    emr_poll_s: int = Field(default=5, ge=1, le=300)
    """Seconds between two looks at a cluster or a step; EMR throttles accounts that ask too often."""
    step_timeout_s: int = Field(default=6 * 3600, ge=1)
    """How long a step may take before it is cancelled."""
    log_wait_s: int = Field(default=360, ge=0, le=3600)
    """How long a failed task waits for a cluster that is ending, and then for EMR to deliver logs, which it does every
    five minutes."""
    alert_topic_arn: str | None = Field(default=None, pattern=r"^arn:aws[\w-]*:sns:[\w-]+:\d{12}:[\w-]+$")
    """The SNS topic that is told of each task that failed for good."""

    @property
    def deployment_name(self) -> str:
        """What clusters are tagged with: the deployment's name, or else its bucket's, which is unique in AWS."""
        return self.deployment or self.bucket

    prices: Path | None = None
    """A table of prices and instance types in place of `include/emr/prices.toml`."""


@cache
def settings() -> Settings:
    """The deployment's settings, read once a process.

    Raises:
        pydantic.ValidationError: a value is outside its limits; the message names field, value and limit.
    """
    return Settings()
