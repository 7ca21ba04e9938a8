"""The task that removes old runs: what `include.publication.retention` says may go, in an order that never misleads a reader."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import get_current_context, task

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read, read_json
from fruits_features.contract.layout import FEATURES_ROOT, RunLayout, described, history, latest, published_run

if TYPE_CHECKING:
    from include.publication.retention import Run

log = logging.getLogger(__name__)


@task(
    retries=3,
    doc_md="Removes runs that are older than FRUITS_RETENTION_DAYS, where that is set: never the published one, nor "
    "the newest FRUITS_RETENTION_RUNS, nor one under way.",
)
def remove_old_runs() -> list[str]:
    """Remove what the deployment does not keep.

    Returns:
        Names of the runs that were removed.
    """
    from include.publication.retention import Retention
    from include.settings import settings

    days = settings().retention_days
    if days is None:
        log.info("FRUITS_RETENTION_DAYS is not set: all runs stay.")
        return []
    run, s3 = run_context.run_of(get_current_context()), aws.s3()
    bucket = run["bucket"]
    needed = frozenset({run["name"], read_json(s3, latest(bucket))["run"]})
    old = Retention(days, settings().retention_runs).old(_runs(s3, bucket), datetime.now(UTC), needed)
    for name in old:
        _remove(s3, bucket, name)
        log.info("Removed run %s.", name)
    _sweep(s3, bucket, days)
    return old


def _sweep(s3: S3Hook, bucket: str, days: int) -> None:
    """Remove from the stores of described images what no run will read."""
    from fruits_features.cache import vacuum

    stores = f"{described(bucket)}/"
    place, prefix = S3Hook.parse_s3_url(stores)
    times = {one["Key"].removeprefix(prefix): one["LastModified"] for one in s3.iter_file_metadata(prefix, place)}
    before = datetime.now(UTC) - timedelta(days=days)
    gone = vacuum.find_orphans(times, lambda name: read(s3, f"{stores}{name}") or b"", before, before)
    for names in filter(None, gone):
        s3.delete_objects(place, [f"{prefix}{name}" for name in names])
    log.info("Removed %d objects of the stores of described images.", sum(map(len, gone)))


def _runs(s3: S3Hook, bucket: str) -> list[Run]:
    """Look at all runs."""
    from include.publication.retention import Run

    found = []
    for prefix in s3.list_prefixes(bucket, f"{FEATURES_ROOT}/runs/", "/"):
        run = RunLayout(f"s3://{bucket}/{prefix}")
        times = {one["Key"]: one["LastModified"] for one in s3.iter_file_metadata(prefix, bucket)}
        if times:
            _, record = S3Hook.parse_s3_url(run.record)
            found.append(Run(run.name, max(times.values()), whole=record in times))
    return found


def _remove(s3: S3Hook, bucket: str, name: str) -> None:
    """Remove a run: first what leads readers to it, so that what a crash leaves looks like a run that failed."""
    run = RunLayout.of(bucket, name)
    place, pointers = S3Hook.parse_s3_url(f"{history(bucket)}/")
    leading = [key for key in s3.list_keys(place, pointers) if published_run(key) == name]
    _, record = S3Hook.parse_s3_url(run.record)
    _, prefix = S3Hook.parse_s3_url(f"{run.prefix}/")
    for keys in ([*leading, record], s3.list_keys(bucket, prefix)):
        if keys:
            s3.delete_objects(bucket, keys)
