"""Task `upload_application`: upload the Spark application, and check that its requirements are deployed."""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read
from fruits_airflow.task_ids import UPLOAD_APPLICATION
from fruits_features.contract.families import MODEL_FAMILY

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)


@task(
    task_id=UPLOAD_APPLICATION,
    retries=3,
    doc_md="Uploads the Spark application to the deployment's bucket under its content hash, unless S3 has the same "
    "bytes already. Checks the network that ships, if the run uses it.",
)
def upload_application(*, for_emr: bool = True) -> dict[str, str]:
    """Upload the artifacts that S3 does not have yet, or has with other bytes.

    They are in the deployment's bucket, also when a run reads another bucket.

    Args:
        for_emr: Whether the run creates a cluster, which installs the application's requirements from the wheelhouse.

    Returns:
        Artifact URIs by role (`include.artifacts.bundle.ArtifactUris`).
    """
    from include.artifacts import bundle, shipped_model
    from include.settings import settings

    context = get_current_context()
    folder, onnx = bundle.application_folder(), MODEL_FAMILY in context["params"]["features"]
    bucket, prefix = settings().bucket, settings().artifact_prefix
    built = bundle.build(folder, onnx=onnx)
    s3 = aws.s3()
    wheels = _wheelhouse(s3, bucket, f"{prefix}{bundle.wheelhouse_name(folder, onnx=onnx)}", required=for_emr)
    if run_context.onnx_model(context) == shipped_model.uri(bucket):
        _check_model(s3, bucket)
    for artifact in built.values():
        _upload(s3, bucket, f"{prefix}{artifact.name}", artifact.content)
    return run_context.as_xcom(bundle.uris(built, f"s3://{bucket}/{prefix}", wheels))


def _upload(s3: S3Hook, bucket: str, key: str, content: bytes) -> None:
    """Store an artifact, unless the same bytes are stored already.

    The name is a hash of the sources, but S3 stores any bytes under it. So the bytes are compared, and other bytes are
    replaced. The bytes also differ if another Python has compiled the same sources.
    """
    stored = read(s3, bucket, key)
    if stored == content:
        log.info("s3://%s/%s is stored already.", bucket, key)
        return
    if stored is not None:
        log.warning(
            "s3://%s/%s is replaced, because it is not what this Airflow has built: SHA-256 %s, built %s.",
            *(bucket, key, sha256(stored).hexdigest(), sha256(content).hexdigest()),
        )
    s3.load_bytes(content, key, bucket, replace=True)
    log.info("Uploaded s3://%s/%s (%d bytes).", bucket, key, len(content))


def _check_model(s3: S3Hook, bucket: str) -> None:
    """Check that the network that ships is deployed, with the bytes that this checkout builds.

    Raises:
        AirflowFailException: It is missing or was replaced. A retry would not change that.
    """
    from include.artifacts import shipped_model

    uri, stored = shipped_model.uri(bucket), read(s3, bucket, shipped_model.KEY)
    if stored is None:
        raise AirflowFailException(
            f"Model {uri} does not exist. It is the default of the family `{MODEL_FAMILY}`. Run `make deploy` from the "
            "checkout that Airflow runs, or set the parameter `onnx_model`."
        )
    if (digest := sha256(stored).hexdigest()) != shipped_model.SHA256:
        raise AirflowFailException(
            f"Model {uri} was replaced: its SHA-256 is {digest} instead of {shipped_model.SHA256}. Delete it and run "
            "`make deploy`, or set the parameter `onnx_model`."
        )


def _wheelhouse(s3: S3Hook, bucket: str, key: str, *, required: bool) -> str:
    """Return the URI of a wheelhouse.

    Its content needs no check. It lists wheels, and the bootstrap script installs only wheels whose hashes are in the
    script itself (`pip install --require-hashes`).

    Raises:
        AirflowFailException: The wheelhouse is required and does not exist. A retry would not find it either.
    """
    uri = f"s3://{bucket}/{key}"
    if required and not s3.check_for_key(key, bucket):
        raise AirflowFailException(
            f"Wheelhouse {uri} does not exist. The cluster installs the application's requirements from it. Run "
            "`make deploy` from the checkout that Airflow runs, or the equivalent of this deployment "
            "(docs/guides/aws.md)."
        )
    return uri
