"""What `make deploy` has put in place and runs only refer to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_features.contract.families import MODEL_FAMILY

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)


@task(retries=3, doc_md="Puts the Spark application into S3 under its content's hash, unless it is there already.")
def upload_application(*, for_emr: bool = True) -> dict[str, str]:
    """Make sure that S3 holds what the cluster will run.

    Args:
        for_emr: the cluster is made for this run and installs the application's requirements from the wheelhouse.

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
            log.info("%s is there already.", uri)
        else:
            s3.load_bytes(artifact.content, uri, replace=True)
            log.info("Uploaded %s (%s bytes).", uri, len(artifact.content))
    return run_context.as_xcom(bundle.uris(built, base, wheels))


def _wheelhouse(s3: S3Hook, name: str, *, required: bool) -> str:
    """The URI of a wheelhouse, which lies in the deployment's bucket whatever bucket a run reads.

    Raises:
        AirflowFailException: it is required and not there; another try would not find it either.
    """
    from include.settings import settings

    uri = f"s3://{settings().bucket}/{settings().artifact_prefix}{name}"
    if required and not s3.check_for_key(uri):
        raise AirflowFailException(
            f"There is no {uri}, from which the cluster installs the application's requirements: run `make deploy` "
            "from the checkout that Airflow runs, or what stands for it where this runs (docs/guides/aws.md)."
        )
    return uri
