"""What varies between deployments: bucket, roles, network, machines of the cluster.

The only reader of the environment. What varies between runs is a `Param` of the DAG; credentials, region and
endpoints are boto3's own business (its standard variables, profiles and roles, or Airflow's AWS connection).
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from fruits_features.layout import BUCKET_PATTERN, PREFIX_PATTERN

BucketName = Annotated[str, StringConstraints(pattern=BUCKET_PATTERN)]
Prefix = Annotated[str, StringConstraints(pattern=PREFIX_PATTERN)]


class Settings(BaseSettings):
    """Read from variables `FRUITS_<NAME>` when a task runs, never while a DAG is parsed."""

    model_config = SettingsConfigDict(env_prefix="FRUITS_", frozen=True, extra="ignore")

    bucket: BucketName = "fruits"
    image_prefix: Prefix = "images/"
    artifact_prefix: Prefix = "artifacts/"
    log_prefix: Prefix = "logs/emr/"

    emr_release: str = Field(default="emr-spark-8.1.0", pattern=r"^emr-(spark-)?\d+\.\d+\.\d+$")
    emr_service_role: str = "EMR_DefaultRole_V2"
    emr_instance_profile: str = "EMR_EC2_DefaultRole"
    emr_subnet_id: str | None = None
    emr_security_configuration: str | None = None
    emr_primary_security_group: str | None = None
    emr_core_security_group: str | None = None
    emr_service_security_group: str | None = None
    """The group through which EMR reaches nodes in a private subnet."""
    emr_primary_instance_type: str = "m7g.xlarge"
    emr_core_instance_type: str = "m7g.2xlarge"
    emr_core_instances: int = Field(default=2, ge=1, le=200)
    emr_idle_timeout_s: int = Field(default=1800, ge=60, le=604_800)
    """When AWS itself ends a cluster that nobody ended (EMR's limits: 60 s to 7 days)."""


@cache
def settings() -> Settings:
    """The deployment's settings, read once a process.

    Raises:
        pydantic.ValidationError: a value is outside its limits; the message names field, value and limit.
    """
    return Settings()
