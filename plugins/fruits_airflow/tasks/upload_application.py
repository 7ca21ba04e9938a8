"""Task `upload_application`: upload the Spark application, and check that its requirements are deployed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.task_ids import UPLOAD_APPLICATION
from fruits_features.contract.families import MODEL_FAMILY

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)


@task(
    task_id=UPLOAD_APPLICATION,
    retries=3,
    doc_md="Uploads the Spark application to S3 under its content hash, unless it exists there already.",
)
def upload_application(*, for_emr: bool = True) -> dict[str, str]:
    """Upload the artifacts that S3 does not have yet.

    Args:
        for_emr: Whether the run creates a cluster, which installs the application's requirements from the wheelhouse.

    Returns:
        Artifact URIs by role (`include.artifacts.bundle.ArtifactUris`).
    """
    from include.artifacts import bundle
    from include.settings import settings

    context = get_current_context()
    folder, onnx = bundle.application_folder(), MODEL_FAMILY in context["params"]["features"]
    base = f"s3://{run_context.bucket(context)}/{settings().artifact_prefix}"
    built = bundle.build(folder, onnx=onnx)
    s3 = aws.s3()
    wheels = _wheelhouse(s3, bundle.wheelhouse_name(folder, onnx=onnx), required=for_emr)
    for artifact in built.values():
        uri = f"{base}{artifact.name}"
        if s3.check_for_key(uri):
            log.info("%s exists already.", uri)
        else:
            s3.load_bytes(artifact.content, uri, replace=True)
            log.info("Uploaded %s (%s bytes).", uri, len(artifact.content))
    return run_context.as_xcom(bundle.uris(built, base, wheels))


def _wheelhouse(s3: S3Hook, name: str, *, required: bool) -> str:
    """Return the URI of a wheelhouse. It is in the deployment's bucket, also when a run reads another bucket.

    Raises:
        AirflowFailException: The wheelhouse is required and does not exist. A retry would not find it either.
    """
    from include.settings import settings

    uri = f"s3://{settings().bucket}/{settings().artifact_prefix}{name}"
    if required and not s3.check_for_key(uri):
        raise AirflowFailException(
            f"Wheelhouse {uri} does not exist. The cluster installs the application's requirements from it. Run "
            "`make deploy` from the checkout that Airflow runs, or the equivalent of this deployment "
            "(docs/guides/aws.md)."
        )
    return uri
