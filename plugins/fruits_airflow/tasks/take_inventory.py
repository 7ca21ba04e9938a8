"""Taking an inventory: what lies in the bucket, listed or read from a report, written below the run's prefix."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import aws
from fruits_airflow.objects import ListingHook

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from mypy_boto3_s3 import S3Client

    from include.inventory import Summary

log = logging.getLogger(__name__)

LISTING = "listing"
"""The source of an inventory that comes from no report."""


@dataclass(frozen=True)
class Taken:
    """An inventory.

    Args:
        summary: what it holds.
        source: `listing`, or the URI of the report's manifest.
        taken_at: what happened to the bucket before is in it, in ISO 8601.
    """

    summary: Summary
    source: str
    taken_at: str


def take(s3: S3Hook, images: tuple[str, str], folder: str, leave_out: frozenset[str]) -> Taken:
    """Write the inventory of a bucket; replaces what an earlier try has written.

    Args:
        s3: reaches the bucket and the report.
        images: bucket and prefix of the images.
        folder: where the inventory goes (`s3://…`).
        leave_out: keys of objects that are no images.

    Raises:
        AirflowFailException: the report that the deployment names cannot be used.
    """
    from include import inventory, s3_report

    bucket, prefix = images
    place, below = S3Hook.parse_s3_url(f"{folder}/")
    left = s3.list_keys(place, below)
    if left:
        s3.delete_objects(place, left)

    def store(name: str, file: IO[bytes]) -> None:
        s3.load_file_obj(file, f"{folder}/{name}", replace=True)

    try:
        source, taken_at, listed = _listed(s3, bucket, prefix)
        summary = inventory.write((inventory.describe(batch, prefix, leave_out) for batch in listed), store)
    except s3_report.ReportError as error:
        raise AirflowFailException(str(error)) from error
    return Taken(summary, source, taken_at.isoformat(timespec="microseconds"))


def _listed(s3: S3Hook, bucket: str, prefix: str) -> tuple[str, datetime, Iterator[pa.RecordBatch]]:
    """Choose: a report where the deployment names one and the run reads the deployment's bucket, a listing else."""
    from include import listing, s3_report
    from include.settings import settings

    now = datetime.now(UTC)
    reports = settings().inventory_report
    if reports is None or bucket != settings().bucket:
        patient = cast("S3Client", ListingHook(config=aws.PATIENT).conn)
        return LISTING, now, listing.list_objects(patient, bucket, prefix)
    client = cast("S3Client", s3.conn)
    report = s3_report.newest(client, reports, bucket, now)
    log.info("The inventory comes from %s: what came to the bucket since %s is not in it.", report.uri, report.taken_at)
    return report.uri, report.taken_at, s3_report.list_objects(client, report, bucket, prefix)
