"""Task `take_inventory`: write the list of the images that a run reads."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from typing import IO, TYPE_CHECKING, Any, cast

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws, claims
from fruits_airflow.hooks.s3 import ListingHook
from fruits_airflow.s3.readiness import Readiness
from fruits_airflow.task_ids import TAKE_INVENTORY
from fruits_features.contract.layout import split, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import Context
    from mypy_boto3_s3 import S3Client

    from fruits_features.contract.layout import DatasetLayout, RunLayout
    from include.inventory.image_filter import ImageFilter
    from include.inventory.writer import Summary

log = logging.getLogger(__name__)

MAX_DEPLOYMENT_CHARACTERS = 63
"""Largest length of the deployment in a run's name: the longest name of a bucket, which is the default deployment."""
LISTING = "listing"
"""Source of an inventory without an S3 Inventory report."""


@dataclass(frozen=True)
class Inventory:
    """A written inventory.

    Args:
        summary: Counts and digest of its rows.
        left_out: Number of objects that are not images, by kind.
        source: `listing`, or the URI of the S3 Inventory manifest.
        taken_at: Time in ISO 8601. Earlier changes of the bucket are contained.
    """

    summary: Summary
    left_out: dict[str, int]
    source: str
    taken_at: str


@task(
    task_id=TAKE_INVENTORY,
    retries=3,
    doc_md="Lists the images once and writes `inventory/` below the run's prefix. All later tasks read this list.",
)
def take_inventory() -> dict[str, Any]:
    """Record the images that the run reads.

    Returns:
        The run: name, bucket, data set, the bucket's region, URI, and the figures of its inventory.

    Raises:
        AirflowFailException: There is no image below the prefix.
    """
    context = get_current_context()
    dataset, prefix = run_context.dataset(context), run_context.image_prefix(context)
    s3, bucket = aws.s3(), dataset.bucket
    run = _claim_folder(context, s3, dataset)
    image_filter = Readiness(bucket, prefix, marker=context["params"]["marker"]).image_filter()
    inventory = write_inventory(s3, bucket, run.inventory, image_filter)
    summary = inventory.summary
    others = ", ".join(f"{count} {kind}" for kind, count in sorted(inventory.left_out.items())) or "none"
    if not summary.images:
        raise AirflowFailException(
            f"There are no images below s3://{bucket}/{prefix} (objects left out: {others}). Upload images and run "
            "again."
        )
    log.info("Inventory %s: %s images, %s categories.", run.inventory, summary.images, len(summary.categories))
    log.info("Objects left out, because they are not images: %s.", others)
    for warning in summary.warnings:
        log.warning(warning)
    return {
        "name": run.name,
        "bucket": bucket,
        "dataset": dataset.name,
        "region": aws.bucket_region(s3, bucket),
        "uri": run.prefix,
        "prefix": prefix,
        "images": summary.images,
        "size_bytes": summary.size_bytes,
        "categories": len(summary.categories),
        "uncategorised": summary.uncategorised,
        "fitted": summary.fitted,
        "left_out": inventory.left_out,
        "warnings": summary.warnings,
        "digest": summary.digest,
        "source": inventory.source,
        "taken_at": inventory.taken_at,
    }


def _claim_folder(context: Context, s3: S3Hook, dataset: DatasetLayout) -> RunLayout:
    """Claim a folder for the run, and return it. It is named by time, deployment and DAG, so that names sort by time.

    The time is the logical date. A run that has none, for example one of the API, is named by its earliest start, which
    stays the same when the run is cleared. The deployment is omitted if it has the bucket's name, its default.

    The name ends in a number if the folder is published or belongs to another DAG run. All tries of a DAG run write to
    the same folder, so a failed try is overwritten. A published run is never overwritten, because others read it.
    """
    dag_run, owner = context["dag_run"], run_context.owner_of(context)
    time = stamp(dag_run.logical_date or dag_run.run_after)
    deployment = "" if owner.deployment == dataset.bucket else f"{_as_name(owner.deployment)}-"
    base = f"{time}-{deployment}{dag_run.dag_id}"
    layouts = (dataset.run(base if attempt == 1 else f"{base}-{attempt}") for attempt in count(1))
    return next(
        layout for layout in layouts if not s3.check_for_key(layout.record) and claims.claim(s3, layout, asdict(owner))
    )


def _as_name(deployment: str) -> str:
    """Return the name of a deployment as part of a run's name. A hash keeps changed names apart.

    >>> _as_name("orchard"), _as_name("EU/orchard")
    ('orchard', 'EU-orchard-18b31fb1')
    """
    safe = re.sub(r"[^\w-]", "-", deployment, flags=re.ASCII)[:MAX_DEPLOYMENT_CHARACTERS]
    return safe if safe == deployment else f"{safe}-{sha256(deployment.encode()).hexdigest()[:8]}"


def write_inventory(s3: S3Hook, bucket: str, folder: str, image_filter: ImageFilter) -> Inventory:
    """Write the inventory of a bucket, and delete the inventory of an earlier try.

    Args:
        s3: Hook that reaches the bucket and the report.
        bucket: Bucket of the images.
        folder: URI of the inventory's folder.
        image_filter: Prefix of the images, and rules for the objects that are images.

    Raises:
        AirflowFailException: The S3 Inventory report of the deployment cannot be used.
    """
    from include.inventory import s3_inventory, writer

    folder_bucket, folder_prefix = split(f"{folder}/")
    leftovers = s3.list_keys(folder_bucket, folder_prefix)
    if leftovers:
        s3.delete_objects(folder_bucket, leftovers)

    def store(name: str, file: IO[bytes]) -> None:
        s3.load_file_obj(file, f"{folder}/{name}", replace=True)

    try:
        source, taken_at, batches = _list_objects(s3, bucket, image_filter.prefix)
        rows = writer.ImageRows(batches, image_filter)
        summary = writer.write(rows, store)
    except s3_inventory.ReportError as error:
        raise AirflowFailException(str(error)) from error
    return Inventory(summary, dict(rows.left_out), source, taken_at.isoformat(timespec="microseconds"))


def _list_objects(s3: S3Hook, bucket: str, prefix: str) -> tuple[str, datetime, Iterator[pa.RecordBatch]]:
    """Return source, time and rows of the list of objects.

    The S3 Inventory report is used if the deployment names one and the run reads the deployment's bucket. Otherwise the
    bucket is listed.
    """
    from include.inventory import listing, s3_inventory
    from include.settings import settings

    now = datetime.now(UTC)
    reports = settings().inventory_report
    if reports is None or bucket != settings().bucket:
        listing_client = cast("S3Client", ListingHook(config=aws.RETRY_CONFIG).conn)
        return LISTING, now, listing.list_objects(listing_client, bucket, prefix)
    client = cast("S3Client", s3.conn)
    report = s3_inventory.newest(client, reports, bucket, now)
    log.info("Reading the inventory report %s. It does not contain changes after %s.", report.uri, report.taken_at)
    return report.uri, report.taken_at, s3_inventory.list_objects(client, report, bucket, prefix)
