"""Replacement of the pointer `latest.json`.

The pointer only moves to runs with a later inventory. Each pointer is also kept in the history of its data set, so that
readers can open the run that was published at a given time, and users can go back to it. The replacement is a
conditional PUT (S3 User Guide, "Conditional requests"), so that concurrent publishers cannot overwrite each other.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from botocore.exceptions import ClientError

from fruits_airflow.hooks.documents import other_images, parse_latest
from fruits_airflow.hooks.s3 import read
from fruits_airflow.task_ids import TAKE_INVENTORY
from fruits_features.contract import sealed
from fruits_features.contract.layout import published_run, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from mypy_boto3_s3 import S3Client

    from fruits_features.contract.layout import DatasetLayout, RunLayout

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
    published_taken_at = published.get("inventory", {}).get("taken_at")
    if published_taken_at is None or published["run"] == run:
        return
    if datetime.fromisoformat(published_taken_at) > datetime.fromisoformat(taken_at):
        raise AirflowSkipException(
            f"Run {run} is not published: its inventory of {taken_at} is older than that of run {published['run']} "
            f"({published_taken_at}), which stays published. Clear the DAG run from `{TAKE_INVENTORY}` on to read the "
            "current bucket."
        )


def publish(
    s3: S3Hook,
    dataset: DatasetLayout,
    record: Mapping[str, Any],
    pointer: Mapping[str, Any],
    *,
    may_replace: bool,
) -> str:
    """Write a run's record, then replace the pointer.

    Args:
        s3: Hook that reaches the bucket.
        dataset: Data set of the run.
        record: Content of `run.json`.
        pointer: Content of `latest.json`.
        may_replace: Whether the published run may have read another image prefix.

    Returns:
        URI of `latest.json`.

    Raises:
        AirflowFailException: The pointer is damaged or in the future. Or a run on another image prefix was published in
            the meantime.
        AirflowException: Other runs replaced the pointer in each of `MAX_ATTEMPTS` attempts.
        AirflowSkipException: A run with a later inventory was published in the meantime.
    """
    from include.publication.documents import encode

    run = dataset.run(pointer["run"])
    earlier = read(s3, *split(run.record))
    s3.load_bytes(encode(record), run.record, replace=True)
    try:
        for _ in range(MAX_ATTEMPTS):
            if _replace(s3, dataset, pointer, may_replace=may_replace):
                return dataset.latest
    except (AirflowFailException, AirflowSkipException):
        _withdraw(s3, dataset, run, earlier)
        raise
    raise AirflowException(
        f"Run {run.name} was not published: other runs replaced {dataset.latest} in each of {MAX_ATTEMPTS} "
        "attempts. Clear this task when they have ended."
    )


def _withdraw(s3: S3Hook, dataset: DatasetLayout, run: RunLayout, earlier: bytes | None) -> None:
    """Restore the record of a run that was published before, and delete that of any other run.

    The pointer of a run that was replaced in the meantime is in the history.
    """
    bucket, pointers = split(f"{dataset.history}/")
    if earlier and run.name in map(published_run, s3.list_keys(bucket, pointers)):
        s3.load_bytes(earlier, run.record, replace=True)
    else:
        s3.delete_objects(*split(run.record))


def _replace(s3: S3Hook, dataset: DatasetLayout, pointer: Mapping[str, Any], *, may_replace: bool) -> bool:
    """Replace the pointer if it has not changed since it was read. Return whether it was replaced."""
    from include.publication.documents import encode

    client, (bucket, key) = cast("S3Client", s3.conn), split(dataset.latest)
    content, condition = _read_pointer(client, dataset.latest)
    before = parse_latest(content, dataset) if content else {}
    require_newer(before, pointer["run"], pointer["inventory"]["taken_at"])
    if not may_replace and (problem := other_images(s3, before, dataset, pointer["inventory"]["prefix"])):
        raise AirflowFailException(problem)
    if before.get("run") == pointer["run"]:  # replaced by an earlier try
        pointer = sealed.seal({**pointer, "published_at": before["published_at"]})
    elif before:  # of an older version, or interrupted before its copy
        s3.load_bytes(content, dataset.publication(before["published_at"], before["run"]), replace=True)
    body = encode(pointer)
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json; charset=utf-8", **condition)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _CONFLICT_CODES:
            raise
        log.info("Another run was published in the meantime (%s). Trying again.", error.response["Error"]["Code"])
        return False
    s3.load_bytes(body, dataset.publication(pointer["published_at"], pointer["run"]), replace=True)
    return True


def _read_pointer(client: S3Client, uri: str) -> tuple[bytes, dict[str, Any]]:
    """Return the pointer's content, and the arguments that make a PUT fail if it has changed since.

    Without a pointer the content is empty.
    """
    bucket, key = split(uri)
    try:
        response = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.NoSuchKey:
        return b"", {"IfNoneMatch": "*"}
    return response["Body"].read(), {"IfMatch": response["ETag"]}
