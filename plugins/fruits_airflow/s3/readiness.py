"""One look at a bucket: are its images there, quiet, and marked as complete, as a run wants them to be?

Asks S3 and decides; when to look again and for how long is the sensor's and its trigger's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import ListingHook

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Readiness:
    """What a run waits for.

    Args:
        bucket: the bucket's name.
        prefix: of the images, empty or ending in "/".
        quiet_minutes: for how long no object must have come; 0 for not at all.
        marker: key below the prefix of an object that must be there; `None` for none.
    """

    bucket: str
    prefix: str
    quiet_minutes: float = 0
    marker: str | None = None

    @property
    def place(self) -> str:
        """Where the images lie."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def no_images(self) -> frozenset[str]:
        """Keys of objects that are no images."""
        return frozenset({self.prefix + self.marker} if self.marker else set())


@dataclass(frozen=True)
class NotReady:
    """What is missing: what is seen now, what to do when it does not change, and when it can have changed."""

    seen: str
    way_out: str
    again_s: float = 0


def look(wanted: Readiness, aws_conn_id: str | None) -> NotReady | None:
    """Look once; `None` when all is there.

    Raises:
        ClientError: S3 refuses to tell.
    """
    s3 = aws.s3(aws_conn_id=aws_conn_id)
    if wanted.marker and not s3.check_for_key(wanted.prefix + wanted.marker, wanted.bucket):
        return NotReady(
            f"The marker {wanted.place}{wanted.marker} did not come",
            "let whoever uploads the images write it when they are done, or set the parameter `marker`",
        )
    if not _has_images(cast("S3Client", s3.conn), wanted):
        return NotReady(
            f"No image came to {wanted.place}",
            "upload images there, or set the parameters `bucket` and `image_prefix`",
        )
    return _noise(wanted, aws_conn_id) if wanted.quiet_minutes else None


def _has_images(s3: S3Client, wanted: Readiness) -> bool:
    """Find one object that is neither the marker nor a console's folder."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=wanted.bucket, Prefix=wanted.prefix)
    listed = (one for page in pages for one in page.get("Contents", []))
    return any((one["Size"] or not one["Key"].endswith("/")) and one["Key"] not in wanted.no_images for one in listed)


def _noise(wanted: Readiness, aws_conn_id: str | None) -> NotReady | None:
    """See whether an object came lately: all have to be listed, since S3 does not tell the last."""
    import pyarrow.compute as pc

    from include.inventory.listing import list_objects

    hook = ListingHook(aws_conn_id=aws_conn_id, config=aws.RETRY_CONFIG)
    listed = list_objects(cast("S3Client", hook.conn), wanted.bucket, wanted.prefix)
    newest = max((pc.max(batch["last_modified"]).as_py() for batch in listed if batch.num_rows), default=None)
    now = datetime.now(UTC)
    if newest is None or now - newest >= timedelta(minutes=wanted.quiet_minutes):
        return None
    return NotReady(
        f"Uploads to {wanted.place}, the last one at {newest:%H:%M:%S} UTC, did not end",
        f"let them pause for {wanted.quiet_minutes:g} minutes, or lower the parameter `quiet_minutes`",
        again_s=(newest + timedelta(minutes=wanted.quiet_minutes) - now).total_seconds(),
    )


def refusal(error: ClientError, wanted: Readiness) -> str | None:
    """Tell why S3 refuses; `None` when another try may go better."""
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in {"NoSuchBucket", "404"}:
        return (
            f"There is no bucket {wanted.bucket!r}: create it, or set the parameter `bucket` "
            "or the variable FRUITS_BUCKET to the one that holds the images."
        )
    if status in {429, 500, 502, 503, 504} or code in {"RequestTimeout", "SlowDown", "ThrottlingException"}:
        return None
    return f"S3 refused to list {wanted.place} ({code}): {error}"
