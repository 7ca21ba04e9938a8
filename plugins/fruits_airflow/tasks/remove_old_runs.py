"""Task `remove_old_runs`: delete the runs that `include.publication.retention` selects."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks.documents import read_latest
from fruits_airflow.hooks.s3 import read
from fruits_features.contract.layout import RunLayout, published_run, split

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from fruits_features.contract.layout import DatasetLayout
    from include.publication.retention import Run

log = logging.getLogger(__name__)


@task(
    retries=3,
    doc_md="Deletes runs not modified for FRUITS_RETENTION_DAYS (90; 0 keeps all). Keeps the published run, the newest "
    "FRUITS_RETENTION_RUNS (3), and runs in progress.",
)
def remove_old_runs() -> list[str]:
    """Delete old runs of the run's data set, and objects of its feature cache that no run reads.

    Returns:
        Names of the deleted runs.
    """
    from include.publication.retention import Retention
    from include.settings import settings

    days = settings().retention_days
    if days == 0:
        log.info("FRUITS_RETENTION_DAYS is 0. All runs are kept.")
        return []
    run = run_context.run_of(get_current_context())
    s3, dataset = run_context.s3_of(run), run_context.dataset_of(run)
    try:
        published = read_latest(s3, dataset).get("run")
    except AirflowFailException as error:
        log.warning("No run is deleted, because the published one is unknown: %s", error)
        old = []
    else:
        retention, needed = Retention(days, settings().retention_runs), frozenset({run["name"], published})
        old = retention.expired(_runs(s3, dataset), datetime.now(UTC), needed)
    for name in old:
        _delete_run(s3, dataset, name)
        log.info("Deleted run %s.", name)
    _vacuum_cache(s3, dataset, days)
    return old


def _vacuum_cache(s3: S3Hook, dataset: DatasetLayout, days: int) -> None:
    """Delete the objects of the feature cache that no run reads and that are older than `days`."""
    from fruits_features.cache import vacuum

    bucket, prefix = split(f"{dataset.feature_cache}/")
    times = {
        entry["Key"].removeprefix(prefix): entry["LastModified"] for entry in s3.iter_file_metadata(prefix, bucket)
    }
    before = datetime.now(UTC) - timedelta(days=days)
    orphans = vacuum.find_orphans(times, lambda name: read(s3, bucket, f"{prefix}{name}") or b"", before)
    for names in filter(None, orphans):
        s3.delete_objects(bucket, [f"{prefix}{name}" for name in names])
    log.info("Deleted %d orphan objects of the feature cache.", sum(map(len, orphans)))


def _runs(s3: S3Hook, dataset: DatasetLayout) -> list[Run]:
    """Return all runs with the time of their last change. Skip a folder without a name."""
    from include.publication.retention import Run

    bucket, folder = split(f"{dataset.runs}/")
    runs = []
    for prefix in s3.list_prefixes(bucket, folder, "/"):
        if prefix.endswith("//"):
            log.warning("s3://%s/%s is not a run, because it has no name. It is kept.", bucket, prefix)
            continue
        run = RunLayout(f"s3://{bucket}/{prefix}")
        times = {entry["Key"]: entry["LastModified"] for entry in s3.iter_file_metadata(prefix, bucket)}
        if times:
            _, record = split(run.record)
            runs.append(Run(run.name, max(times.values()), published=record in times))
    return runs


def _delete_run(s3: S3Hook, dataset: DatasetLayout, name: str) -> None:
    """Delete a run.

    The pointers and the record are deleted first. What remains after a crash then looks like a failed run to readers.
    """
    run = dataset.run(name)
    bucket, pointers = split(f"{dataset.history}/")
    published = [key for key in s3.list_keys(bucket, pointers) if published_run(key) == name]
    _, record = split(run.record)
    _, prefix = split(f"{run.prefix}/")
    for keys in ([*published, record], s3.list_keys(bucket, prefix)):
        if keys:
            s3.delete_objects(bucket, keys)
