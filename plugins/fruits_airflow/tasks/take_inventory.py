"""Taking an inventory: what lies in the bucket, listed or read from a report, written below the run's prefix."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import IO, TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import ListingHook
from fruits_airflow.s3.readiness import Readiness
from fruits_features.contract.layout import RunLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from airflow.sdk import Context
    from mypy_boto3_s3 import S3Client

    from include.inventory.writer import Summary

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


@task(
    retries=3, doc_md="Lists the images once and writes what this run will read: `inventory/` below the run's prefix."
)
def take_inventory() -> dict[str, Any]:
    """Fix what the run reads.

    Returns:
        The run: name, bucket, uri, and the inventory's figures.

    Raises:
        AirflowFailException: nothing but folder markers was listed.
    """
    context = get_current_context()
    bucket, prefix = run_context.bucket(context), run_context.image_prefix(context)
    s3 = aws.s3()
    run = _free_layout(context, s3, bucket)
    no_images = Readiness(bucket, prefix, marker=context["params"]["marker"]).no_images
    taken = take(s3, (bucket, prefix), run.inventory, no_images)
    summary = taken.summary
    if not summary.images:
        raise AirflowFailException(f"No image is left below s3://{bucket}/{prefix}: upload some and run again.")
    log.info("Inventory %s: %s images, %s categories.", run.inventory, summary.images, len(summary.categories))
    return {
        "name": run.name,
        "bucket": bucket,
        "uri": run.prefix,
        "prefix": prefix,
        "images": summary.images,
        "size_bytes": summary.size_bytes,
        "categories": len(summary.categories),
        "uncategorised": summary.uncategorised,
        "digest": summary.digest,
        "source": taken.source,
        "taken_at": taken.taken_at,
    }


def _free_layout(context: Context, s3: S3Hook, bucket: str) -> RunLayout:
    """Where the run goes: its date and its DAG, and a number where that place is published already.

    The same date writes to the same place, so that a failed try is overwritten; a published run is what others read,
    and is never written again.
    """
    dag_run = context["dag_run"]
    stem = f"{dag_run.logical_date:%Y-%m-%dT%H%M%SZ}" if dag_run.logical_date else re.sub(r"[^\w-]", "", dag_run.run_id)
    base = f"{stem}-{dag_run.dag_id}"
    layouts = (RunLayout.of(bucket, base if attempt == 1 else f"{base}-{attempt}") for attempt in count(1))
    return next(layout for layout in layouts if not s3.check_for_key(layout.record))


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
    from include.inventory import s3_inventory, writer

    bucket, prefix = images
    place, below = S3Hook.parse_s3_url(f"{folder}/")
    left = s3.list_keys(place, below)
    if left:
        s3.delete_objects(place, left)

    def store(name: str, file: IO[bytes]) -> None:
        s3.load_file_obj(file, f"{folder}/{name}", replace=True)

    try:
        source, taken_at, listed = _listed(s3, bucket, prefix)
        summary = writer.write((writer.inventory_rows(batch, prefix, leave_out) for batch in listed), store)
    except s3_inventory.ReportError as error:
        raise AirflowFailException(str(error)) from error
    return Taken(summary, source, taken_at.isoformat(timespec="microseconds"))


def _listed(s3: S3Hook, bucket: str, prefix: str) -> tuple[str, datetime, Iterator[pa.RecordBatch]]:
    """Choose: a report where the deployment names one and the run reads the deployment's bucket, a listing else."""
    from include.inventory import listing, s3_inventory
    from include.settings import settings

    now = datetime.now(UTC)
    reports = settings().inventory_report
    if reports is None or bucket != settings().bucket:
        patient = cast("S3Client", ListingHook(config=aws.RETRY_CONFIG).conn)
        return LISTING, now, listing.list_objects(patient, bucket, prefix)
    client = cast("S3Client", s3.conn)
    report = s3_inventory.newest(client, reports, bucket, now)
    log.info("The inventory comes from %s: what came to the bucket since %s is not in it.", report.uri, report.taken_at)
    return report.uri, report.taken_at, s3_inventory.list_objects(client, report, bucket, prefix)
