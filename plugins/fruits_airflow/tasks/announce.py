"""Task `announce`: emit the event of the asset that downstream DAGs are scheduled on."""

from __future__ import annotations

from airflow.sdk import Asset, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from fruits_airflow import run_context
from fruits_airflow.hooks.documents import read_latest

FEATURES = Asset("fruits_features", group="fruits")
"""The published features. The `extra` of an event contains `bucket`, `dataset` and `EVENT_FIELDS`."""
EVENT_FIELDS = ("run", "published_at", "inventory", "counts", "projection", "versions", "paths")
"""Fields of `latest.json` that an event contains."""


@task(
    outlets=[FEATURES],
    retries=3,
    doc_md="Emits an event of the asset `fruits_features`, on which downstream DAGs are scheduled. Its `extra` names "
    "the published run. Skipped in backfills, because they read today's bucket, which downstream DAGs already know.",
)
def announce() -> None:
    """Add the published run to the asset's event.

    Raises:
        AirflowSkipException: The run is part of a backfill.
    """
    context = get_current_context()
    if context["dag_run"].run_type == "backfill":
        raise AirflowSkipException("A backfill is not announced. Downstream DAGs run for new images only.")
    run = run_context.run_of(context)
    dataset = run_context.dataset_of(run)
    pointer = read_latest(run_context.s3_of(run), dataset)
    fields = {name: pointer[name] for name in EVENT_FIELDS}
    context["outlet_events"][FEATURES].extra = {"bucket": dataset.bucket, "dataset": dataset.name, **fields}
