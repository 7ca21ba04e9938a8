"""Rights of users, and errors of S3, for all pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

from include.settings import settings

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from botocore.exceptions import ClientError


def may_read(user: BaseUser, dag_id: str) -> bool:
    """Return whether a user may read the runs of a DAG."""
    entity, details = DagAccessEntity.RUN, DagDetails(id=dag_id)
    allowed: bool = get_auth_manager().is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
    return allowed


def s3_sentence(error: ClientError) -> str:
    """Return an error of S3, and the settings to check."""
    return (
        f"{error}. Check the deployment's bucket (FRUITS_BUCKET, now {settings().bucket!r}) and the read permissions "
        "of Airflow's AWS connection."
    )
