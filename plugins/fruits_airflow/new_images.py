"""Counts the images that a run has to extract, for the plan of its cluster."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow import run_context
from fruits_airflow.hooks import aws, processes
from fruits_airflow.task_ids import FIND_CHANGES, NEW_IMAGES_KEY
from fruits_features.contract.layout import split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import Context
    from mypy_boto3_s3 import S3Client

    from fruits_features.contract.arguments import Arguments
    from fruits_features.contract.layout import DatasetLayout
    from include.settings import Architecture

log = logging.getLogger(__name__)

MACHINES: Final[Mapping[Architecture, str]] = {"arm64": "aarch64", "x86_64": "x86_64"}
"""Type of a cluster's machines (`uname -m`) by `FRUITS_EMR_ARCHITECTURE`."""
TIMEOUT_S = 1800
"""Longest time of the count in seconds, a multiple of the time for ten million (docs/measurements/speed.md)."""
_CHUNK_BYTES = 1 << 20


class UnknownChangesError(Exception):
    """The new images cannot be counted. The message has the reason."""


def count(context: Context, s3: S3Hook, arguments: Arguments) -> None:
    """Count the images of a run that the feature cache does not contain, and store the numbers for `counted`.

    The count is only used to plan. If it fails, a warning has the reason, and the run is planned for all images.
    """
    run, changes = run_context.run_of(context), None
    images = run["images"]
    try:
        if _has_cache(cast("S3Client", s3.conn), run_context.dataset_of(run)):
            changes = _count(s3, arguments)
        else:
            changes = {key: {name: run[name] for name in ("images", "size_bytes")} for key in ("cluster", "worker")}
        log.info("%s of %s images are new.", f"{changes['cluster']['images']:,}", f"{images:,}")
    except (BotoCoreError, ClientError, UnknownChangesError) as error:
        log.warning("New images cannot be counted, so all %s count as new: %s", f"{images:,}", error)
    context["ti"].xcom_push(key=NEW_IMAGES_KEY, value=changes)


def counted(context: Context, machines: str) -> tuple[int, int]:
    """Return number and total size in bytes of a run's new images; of all images if they could not be counted.

    Args:
        context: Airflow's context of a task after `find_changes`.
        machines: `cluster` or `worker`: the machines that would extract the features.
    """
    run, changes = run_context.run_of(context), context["ti"].xcom_pull(task_ids=FIND_CHANGES, key=NEW_IMAGES_KEY)
    if not changes:
        return run["images"], run["size_bytes"]
    new = changes[machines]
    return new["images"], new["size_bytes"]


def _has_cache(client: S3Client, dataset: DatasetLayout) -> bool:
    """Return whether a data set has any feature cache. Without one, no process has to be started to count."""
    bucket, prefix = split(f"{dataset.feature_cache}/")
    return "Contents" in client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def _count(s3: S3Hook, arguments: Arguments) -> dict[str, Any]:
    """Count in a child process, because the application finds S3's credentials in its environment."""
    from include.settings import settings

    client = cast("S3Client", s3.conn)
    options = []
    if aws.is_aws(client):  # the nodes of an emulated cluster are this machine
        options.append(f"--machine={MACHINES[settings().emr_architecture]}")
    if arguments.onnx_model:
        options.append(f"--model-sha256={_model_sha256(client, arguments.onnx_model)}")
    command = [sys.executable, "-m", "include.inventory.changes", *options, "--", *arguments.to_argv()]
    try:
        ended = subprocess.run(  # noqa: S603 - our own module
            command,
            env=processes.environment(s3),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise UnknownChangesError(f"it took longer than {TIMEOUT_S} s.") from error
    lines = ended.stderr.strip().splitlines()
    for line in lines:
        log.warning("%s", line)
    if ended.returncode:
        raise UnknownChangesError(lines[-1] if lines else f"exit code {ended.returncode}")
    changes: dict[str, Any] = json.loads(ended.stdout)
    return changes


def _model_sha256(client: S3Client, uri: str) -> str:
    """Return the SHA-256 of a model's file, which is read in chunks unless it is the network that ships.

    Raises:
        UnknownChangesError: The model is not in S3.
    """
    from include.artifacts import shipped_model
    from include.settings import settings

    if uri == shipped_model.uri(settings().bucket):
        return shipped_model.SHA256
    if not uri.startswith("s3://"):
        raise UnknownChangesError(f"the model {uri} is on the cluster's disk.")
    bucket, key = split(uri)
    digest = sha256()
    for chunk in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
