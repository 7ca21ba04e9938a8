"""Replacement of the pointer `latest.json`.

The pointer only moves to runs with a later inventory. Before it is replaced, it is copied below `features/published/`,
so that readers can open the run that was published at a given time. The replacement is a conditional PUT (S3 User
Guide, "Conditional requests"), so that concurrent publishers cannot overwrite each other.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from botocore.exceptions import ClientError

from fruits_airflow.hooks.documents import parse_latest
from fruits_airflow.task_ids import TAKE_INVENTORY
from fruits_features.contract import layout, sealed
from fruits_features.contract.layout import RunLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
_CONFLICT_CODES = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}
"""S3's error codes when the pointer was replaced, is being written, or was deleted since it was read."""


def require_newer(published: Mapping[str, Any], run: str, taken_at: str) -> None:
    """Check that the published run does not have a later inventory.

    Args:
        published: Content of `latest.json`; empty when nothing is published.
        run: Name of the run to publish.
        taken_at: Time of its inventory in ISO 8601.

    Raises:
        AirflowSkipException: The published run has a later inventory.
    """
    published_at = published.get("inventory", {}).get("taken_at")
    if published_at is None or published["run"] == run:
        return
    if datetime.fromisoformat(published_at) > datetime.fromisoformat(taken_at):
        raise AirflowSkipException(
            f"Run {run} is not published: its inventory of {taken_at} is older than that of run {published['run']} "
            f"({published_at}), which stays published. Clear the DAG run from `{TAKE_INVENTORY}` on to read the "
            "current bucket."
        )


def publish(s3: S3Hook, record: Mapping[str, Any], pointer: Mapping[str, Any]) -> str:
    """Write a run's record, then replace the pointer.

    Args:
        s3: Hook that reaches the bucket.
        record: Content of `run.json`.
        pointer: Content of `latest.json`.

    Returns:
        URI of `latest.json`.

    Raises:
        AirflowFailException: The pointer is damaged or in the future.
        AirflowException: Other runs replaced the pointer in each of `MAX_ATTEMPTS` attempts.
        AirflowSkipException: A run with a later inventory was published in the meantime.
    """
    from include.publication.documents import encode

    run = RunLayout(pointer["paths"]["run"].rpartition("/")[0])
    bucket, _ = layout.split(run.prefix)
    s3.load_bytes(encode(record), run.record, replace=True)
    try:
        for _ in range(MAX_ATTEMPTS):
            if _replace(s3, bucket, pointer):
                return layout.latest(bucket)
    except (AirflowFailException, AirflowSkipException):
        s3.delete_objects(*layout.split(run.record))
        raise
    raise AirflowException(
        f"Run {run.name} was not published: other runs replaced {layout.latest(bucket)} in each of {MAX_ATTEMPTS} "
        "attempts. Clear this task when they have ended."
    )


def _replace(s3: S3Hook, bucket: str, pointer: Mapping[str, Any]) -> bool:
    """Replace the pointer if it has not changed since it was read. Return whether it was replaced."""
    from include.publication.documents import encode

    client, uri = cast("S3Client", s3.conn), layout.latest(bucket)
    content, condition = _read_pointer(client, uri)
    before = parse_latest(content, bucket) if content else {}
    require_newer(before, pointer["run"], pointer["inventory"]["taken_at"])
    if before.get("run") == pointer["run"]:  # replaced by an earlier try
        pointer = sealed.seal({**pointer, "published_at": before["published_at"]})
    elif before:
        s3.load_bytes(content, layout.publication(bucket, before["published_at"], before["run"]), replace=True)
    _, key = layout.split(uri)
    body = encode(pointer)
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json; charset=utf-8", **condition)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _CONFLICT_CODES:
            raise
        log.info("Another run was published in the meantime (%s). Trying again.", error.response["Error"]["Code"])
        return False
    return True


def _read_pointer(client: S3Client, uri: str) -> tuple[bytes, dict[str, Any]]:
    """Return the pointer's content, and the arguments that make a PUT fail if it has changed since.

    Without a pointer the content is empty.
    """
    bucket, key = layout.split(uri)
    try:
        response = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.NoSuchKey:
        return b"", {"IfNoneMatch": "*"}
    return response["Body"].read(), {"IfMatch": response["ETag"]}
