"""Moving `latest.json`: forward only, one publisher at a time, and no publication forgotten.

Before the pointer is replaced, it is kept below `features/published/`, so that readers can ask for the run that was
published at a time. The pointer itself is written last, on condition that it is still the one that was looked at.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from botocore.exceptions import ClientError

from fruits_features.contract import layout
from fruits_features.contract.layout import RunLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

TRIES = 5
_OVERTAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}
"""What S3 answers when the pointer is no longer the one that was read: another, one being written, or none."""


def require_newer(published: Mapping[str, Any], run: str, taken_at: str) -> None:
    """See that publishing the run would not go back in time.

    Args:
        published: `latest.json`; empty where nothing is published.
        run: the run's name.
        taken_at: when its inventory was taken.

    Raises:
        AirflowSkipException: the published run has read the bucket at a later time.
    """
    theirs = published.get("inventory", {}).get("taken_at")
    if theirs is None or published["run"] == run:
        return
    if datetime.fromisoformat(theirs) > datetime.fromisoformat(taken_at):
        raise AirflowSkipException(
            f"Run {run} is not published: its inventory is of {taken_at}, and that of run {published['run']}, which "
            f"stays published, of {theirs}. Clear the DAG run from `take_inventory` on to read the bucket as it is now."
        )


def publish(s3: S3Hook, record: Mapping[str, Any], pointer: Mapping[str, Any]) -> str:
    """Write a run's record, then let readers follow it.

    Args:
        s3: reaches the bucket.
        record: `run.json`.
        pointer: `latest.json`.

    Returns:
        The URI of `latest.json`.

    Raises:
        AirflowException: others kept publishing.
        AirflowSkipException: another run that read the bucket later was published meanwhile.
    """
    from include.publication.documents import encode

    run = RunLayout(pointer["paths"]["run"].rpartition("/")[0])
    bucket, _ = S3Hook.parse_s3_url(run.prefix)
    s3.load_bytes(encode(record), run.record, replace=True)
    try:
        for _ in range(TRIES):
            if _moved(s3, bucket, pointer):
                return layout.latest(bucket)
    except AirflowSkipException:
        s3.delete_objects(*S3Hook.parse_s3_url(run.record))
        raise
    raise AirflowException(f"Others kept publishing to s3://{bucket} while run {run.name} tried {TRIES} times.")


def _moved(s3: S3Hook, bucket: str, pointer: Mapping[str, Any]) -> bool:
    """Move the pointer, unless somebody else has moved it since it was looked at."""
    from include.publication.documents import decode, encode

    client, uri = cast("S3Client", s3.conn), layout.latest(bucket)
    content, condition = _current(client, uri)
    before = decode(content)
    require_newer(before, pointer["run"], pointer["inventory"]["taken_at"])
    if before.get("run") == pointer["run"]:  # an earlier try came as far as this
        pointer = {**pointer, "published_at": before["published_at"]}
    elif before:
        s3.load_bytes(content, layout.publication(bucket, before["published_at"], before["run"]), replace=True)
    _, key = S3Hook.parse_s3_url(uri)
    body = encode(pointer)
    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json; charset=utf-8", **condition)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _OVERTAKEN:
            raise
        log.info("Another run was published meanwhile (%s); looking again.", error.response["Error"]["Code"])
        return False
    return True


def _current(client: S3Client, uri: str) -> tuple[bytes, dict[str, Any]]:
    """Read the pointer, and the condition under which it may be replaced: that it is still this one, or still none."""
    bucket, key = S3Hook.parse_s3_url(uri)
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
    except client.exceptions.NoSuchKey:
        return b"{}", {"IfNoneMatch": "*"}
    return answer["Body"].read(), {"IfMatch": answer["ETag"]}
