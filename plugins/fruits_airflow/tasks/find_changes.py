"""The task that ends a run before it costs anything, when nothing has changed since the published one."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from botocore.exceptions import ClientError

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read_json
from fruits_features.contract.layout import backfill as backfill_uri
from fruits_features.contract.layout import latest as latest_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from airflow.sdk.types import DagRunProtocol

log = logging.getLogger(__name__)

STAYS_PUBLISHED = "stays_published"
"""XCom of a run that was skipped: the name of the run that it would only have repeated."""


@task(
    retries=3,
    doc_md="Compares images, application and parameters with the published run's. When nothing has changed, "
    "everything after this is skipped: no cluster, no cost. The parameter `force` overrides. Of a backfill one run "
    "works at a time, and the others are skipped: all would read the bucket as it is today.",
)
def find_changes() -> dict[str, Any]:
    """Go on only when the run would publish something new.

    Returns:
        What the run is made from (`include.publication.fingerprint`).

    Raises:
        AirflowSkipException: the published run is made from just that, or another run of the backfill is at work on it.
    """
    from include.publication import fingerprint

    context = get_current_context()
    run, s3 = run_context.run_of(context), aws.s3()
    mine = fingerprint.run_fingerprint(
        run,
        arguments=run_context.arguments_of(context),
        artifacts=run_context.as_xcom(run_context.artifacts_of(context)),
        model=_model(s3, context),
    )
    published = read_json(s3, latest_uri(run["bucket"]))
    changed = (
        fingerprint.differences(read_json(s3, published["paths"]["run"]).get("recipe", {}), mine) if published else []
    )
    if not published:
        log.info("Nothing is published in s3://%s yet.", run["bucket"])
    elif changed:
        log.info("Changed since run %s: %s.", published["run"], ", ".join(changed))
    elif context["params"]["force"]:
        log.info("Nothing has changed since run %s; going on because of `force`.", published["run"])
    else:
        _skip(context, published)
    if context["dag_run"].run_type == "backfill":
        _take_turn(context, s3, run["bucket"])
    return mine


def _take_turn(context: Context, s3: S3Hook, bucket: str) -> None:
    """Let one run of a backfill work at a time: Airflow starts ten at once, whatever the DAG's `max_active_runs`.

    All of them read the bucket as it is today, so that one works for all. Of those that start together it is the one of
    the earliest date; those that start later, which in a backwards backfill are earlier still, find its name in S3.

    Raises:
        AirflowSkipException: another one is at work.
    """
    dag_run = context["dag_run"]
    uri = backfill_uri(bucket, dag_run.dag_id, json.dumps(dag_run.conf, sort_keys=True))
    at_work = _at_work(cast("RuntimeTaskInstance", context["ti"]), dag_run, read_json(s3, uri).get("run_id"))
    if at_work:
        raise AirflowSkipException(
            f"Run {at_work} of this backfill is at work, and reads the same: the bucket as it is today. What it "
            "publishes counts for this run, too."
        )
    s3.load_string(json.dumps({"run_id": dag_run.run_id, "conf": dag_run.conf}), uri, replace=True)


def _at_work(ti: RuntimeTaskInstance, mine: DagRunProtocol, turn: str | None) -> str | None:
    """Name another running run of the same backfill: the one whose turn it was last, or one of an earlier date.

    None for a run that has its turn already and is tried again: those that run beside it leave the work to it.
    """
    if turn == mine.run_id:
        return None
    if turn and ti.get_dr_count(mine.dag_id, run_ids=[turn], states=["running"]):
        return turn
    earlier = ti.get_previous_dagrun(state="running")
    alike = earlier and (earlier.run_type, earlier.conf) == ("backfill", mine.conf)
    return earlier.run_id if earlier and alike else None


def _skip(context: Context, published: Mapping[str, Any]) -> None:
    """End the run as skipped, naming the one that stays."""
    context["ti"].xcom_push(key=STAYS_PUBLISHED, value=published["run"])
    raise AirflowSkipException(
        f"Nothing has changed since run {published['run']} of {published['published_at']}, which stays published: "
        "the same images, application and parameters. Set the parameter `force` to run nevertheless."
    )


def _model(s3: S3Hook, context: Context) -> str | None:
    """Tell one content of the model from another: by its ETag.

    A model that cannot be looked at from here, on the cluster's own disk or for its role only, may always be another.
    """
    uri = context["params"]["onnx_model"]
    if uri is None:
        return None
    unknown = f"unknown to {run_context.run_of(context)['name']}"
    if not uri.startswith("s3://"):
        return unknown
    bucket, key = S3Hook.parse_s3_url(uri)
    try:
        found = s3.head_object(key, bucket)
    except ClientError as error:
        log.info("The model %s cannot be looked at (%s), so it may have changed.", uri, error)
        return unknown
    return found["ETag"].strip('"') if found else unknown
