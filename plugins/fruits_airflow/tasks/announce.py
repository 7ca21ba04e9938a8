"""The asset that those downstream are scheduled on, and the task that tells them."""

from __future__ import annotations

from airflow.sdk import Asset, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read_json
from fruits_features.contract.layout import latest

FEATURES = Asset("fruits_features", group="fruits")
"""The published features. The `extra` of an event tells `bucket`, and of `latest.json`:"""
_TOLD = ("run", "published_at", "inventory", "counts", "projection", "versions", "paths")


@task(
    outlets=[FEATURES],
    retries=3,
    doc_md="Emits the event of the asset `fruits_features`, which DAGs downstream are scheduled on, with what was "
    "published as its `extra`. Skipped in backfills: they read the bucket of today, which those downstream know.",
)
def announce() -> None:
    """Tell those downstream.

    Raises:
        AirflowSkipException: this is a backfill.
    """
    context = get_current_context()
    if context["dag_run"].run_type == "backfill":
        raise AirflowSkipException("A backfill is not announced: DAGs downstream run for new images only.")
    bucket = run_context.run_of(context)["bucket"]
    pointer = read_json(aws.s3(), latest(bucket))
    context["outlet_events"][FEATURES].extra = {"bucket": bucket, **{name: pointer[name] for name in _TOLD}}
