"""One check of whether a bucket is ready for a run: images, quiet period and marker.

`ImagesSensor` and `ImagesTrigger` decide when to check again and for how long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import ListingHook

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from include.inventory.image_filter import ImageFilter

WAITING = "%s yet. Waiting until %s UTC at the latest."
"""Log message of an unmet condition: its reason, and the end of the wait."""
RETRYABLE_STATUSES = {429, 500, 502, 503, 504}
RETRYABLE_CODES = {"RequestTimeout", "SlowDown", "ThrottlingException"}


@dataclass(frozen=True)
class Readiness:
    """Conditions under which a run starts.

    Args:
        bucket: Name of the bucket.
        prefix: Key prefix of the images, empty or ending in "/".
        quiet_minutes: Minutes since the last upload; 0 for no check.
        marker: Key below the prefix of an object that must exist; `None` for no check.
    """

    bucket: str
    prefix: str
    quiet_minutes: float = 0
    marker: str | None = None

    @property
    def uri(self) -> str:
        """URI of the images' folder."""
        return f"s3://{self.bucket}/{self.prefix}"

    def image_filter(self) -> ImageFilter:
        """Return the rules for the objects that are images."""
        from include.inventory.image_filter import ImageFilter
        from include.settings import settings

        return ImageFilter.of(settings(), self.bucket, self.prefix, self.marker)


@dataclass(frozen=True)
class NotReady:
    """An unmet condition.

    Args:
        reason: State of the bucket, as a sentence without its period.
        remedy: Instruction for the user, as a sentence without its period.
        retry_after_s: Seconds after which the condition can be met at the earliest.
    """

    reason: str
    remedy: str
    retry_after_s: float = 0


def check_readiness(conditions: Readiness, aws_conn_id: str | None) -> NotReady | None:
    """Return the first unmet condition, or `None` when the bucket is ready.

    Raises:
        ClientError: S3 refused a request.
    """
    s3 = aws.s3(aws_conn_id=aws_conn_id)
    if conditions.marker and not s3.check_for_key(conditions.prefix + conditions.marker, conditions.bucket):
        return NotReady(
            f"The marker {conditions.uri}{conditions.marker} was not written",
            "Write it at the end of the upload, or change the parameter `marker`",
        )
    if not _has_images(cast("S3Client", s3.conn), conditions):
        return NotReady(
            f"No image was uploaded to {conditions.uri}",
            "Upload images, or change the parameters `bucket` and `image_prefix`",
        )
    return _check_quiet_period(conditions, aws_conn_id) if conditions.quiet_minutes else None


def _has_images(s3: S3Client, conditions: Readiness) -> bool:
    """Return whether there is an object that is an image by its key."""
    from include.inventory.listing import as_batch

    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=conditions.bucket, Prefix=conditions.prefix)
    image_filter = conditions.image_filter()
    return any(image_filter.apply(as_batch(page.get("Contents", [])))[0].num_rows for page in pages)


def _check_quiet_period(conditions: Readiness, aws_conn_id: str | None) -> NotReady | None:
    """Return whether an image was uploaded recently. Lists all objects, because S3 cannot sort them by time."""
    import pyarrow.compute as pc

    from include.inventory.listing import list_objects

    hook = ListingHook(aws_conn_id=aws_conn_id, config=aws.RETRY_CONFIG)
    image_filter = conditions.image_filter()
    listed = list_objects(cast("S3Client", hook.conn), conditions.bucket, conditions.prefix)
    batches = (image_filter.apply(batch)[0] for batch in listed)
    newest = max((pc.max(batch["last_modified"]).as_py() for batch in batches if batch.num_rows), default=None)
    now = datetime.now(UTC)
    if newest is None or now - newest >= timedelta(minutes=conditions.quiet_minutes):
        return None
    return NotReady(
        f"Uploads to {conditions.uri} (the last at {newest:%H:%M:%S} UTC) did not end",
        f"Pause uploads for {conditions.quiet_minutes:g} minutes, or lower the parameter `quiet_minutes`",
        retry_after_s=(newest + timedelta(minutes=conditions.quiet_minutes) - now).total_seconds(),
    )


def refusal(error: BotoCoreError | ClientError, conditions: Readiness) -> str | None:
    """Return the failure message for an error of S3, or `None` if a retry may succeed."""
    if message := aws.explain(error):
        return message
    if not isinstance(error, ClientError):
        return None
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in {"NoSuchBucket", "404"}:
        return (
            f"Bucket {conditions.bucket!r} does not exist. Create it, or set the parameter `bucket` or the variable "
            "FRUITS_BUCKET to the bucket of the images."
        )
    if status in RETRYABLE_STATUSES or code in RETRYABLE_CODES:
        return None
    if status == HTTPStatus.FORBIDDEN:
        return (
            f"Airflow may not list {conditions.uri}: its role needs s3:ListBucket on the bucket and s3:GetObject below "
            f"the prefix ({error})."
        )
    return f"S3 refused to list {conditions.uri} ({code}): {error}. Check the permissions of Airflow's AWS connection."
