"""Task `find_changes`: skip a run that would repeat the published one, before it creates a cluster."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from botocore.exceptions import ClientError

from fruits_airflow import new_images, run_context
from fruits_airflow.hooks.documents import read_latest, read_published_record
from fruits_airflow.hooks.s3 import read_json
from fruits_airflow.task_ids import FIND_CHANGES, STAYS_PUBLISHED_KEY
from fruits_features.contract.arguments import Refit
from fruits_features.contract.layout import split
from fruits_features.contract.sealed import DamagedDocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import Context
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from airflow.sdk.types import DagRunProtocol

    from fruits_features.contract.arguments import Arguments
    from fruits_features.contract.layout import DatasetLayout

log = logging.getLogger(__name__)


@task(
    task_id=FIND_CHANGES,
    retries=3,
    doc_md="Compares images, application and parameters with the published run. When nothing has changed, all later "
    "tasks are skipped and no cluster is created. The parameter `force` overrides this. In a backfill one run at a "
    "time continues and the others are skipped, because all of them read today's bucket. Counts the images that are "
    "not in the feature cache.",
)
def find_changes(*, for_emr: bool = True) -> dict[str, Any]:
    """Continue only if the run would publish something new. Count the new images for the plan of a cluster.

    Args:
        for_emr: Whether the run creates a cluster.

    Returns:
        The run's fingerprint (`include.publication.fingerprint`).

    Raises:
        AirflowFailException: `latest.json` is damaged or in the future, or `k` is larger than the images allow.
        AirflowSkipException: The published run has the same fingerprint, or another run of the backfill is running.
    """
    from include.publication import fingerprint

    context = get_current_context()
    run = run_context.run_of(context)
    s3, dataset = run_context.s3_of(run), run_context.dataset_of(run)
    arguments = run_context.arguments_of(context)
    _check_components(arguments, run["fitted"])
    current = fingerprint.run_fingerprint(
        run,
        arguments=arguments,
        artifacts=run_context.as_xcom(run_context.artifacts_of(context)),
        model=_model_version(s3, context),
    )
    published = read_latest(s3, dataset)
    changed = fingerprint.differences(read_published_record(s3, published).get("recipe", {}), current)
    if not published:
        log.info("There is no %s yet.", dataset.latest)
    elif changed:
        log.info("Changed since run %s: %s.", published["run"], ", ".join(changed))
    elif context["params"]["force"]:
        log.info("Nothing has changed since run %s. Continuing because of the parameter `force`.", published["run"])
    else:
        _skip(context, published)
    if context["dag_run"].run_type == "backfill":
        _lock_backfill(context, s3, dataset)
    if for_emr:
        new_images.count(context, s3, arguments)
    return current


def _check_components(arguments: Arguments, fitted: int) -> None:
    """Check that a projection with `k` components can be fitted.

    n images, from which their mean is subtracted, have at most n - 1 components.

    Args:
        arguments: Arguments of the application.
        fitted: Number of images that the projection is fitted on.

    Raises:
        AirflowFailException: There are too few images.
    """
    is_kept = arguments.refit == Refit.NEVER and arguments.published
    if arguments.k and arguments.k >= fitted and not is_kept:
        raise AirflowFailException(
            f"The parameter `k` is {arguments.k}, but the projection is fitted on {fitted} images, which have at most "
            f"{fitted - 1} components. Lower `k`, leave it empty, or upload more images."
        )


def _lock_backfill(context: Context, s3: S3Hook, dataset: DatasetLayout) -> None:
    """Let one run of a backfill continue at a time.

    Without this lock, a backfill extracts the same images in up to ten clusters at once. A backfill has its own limit
    of 10 concurrent runs, which ignores the DAG's `max_active_runs` (Airflow documentation, "Backfill"). All of its
    runs read the bucket as it is today, so one result is valid for all of them.

    Of runs that start together, the run of the earliest date continues. Its id is stored in S3 for runs that start
    later. In a backfill in reverse order, those have earlier dates.

    Raises:
        AirflowSkipException: Another run of the backfill is running.
    """
    dag_run = context["dag_run"]
    uri = dataset.backfill(dag_run.dag_id, json.dumps(dag_run.conf, sort_keys=True))
    holder = _lock_holder(cast("RuntimeTaskInstance", context["ti"]), dag_run, _stored_holder(s3, uri))
    if holder:
        raise AirflowSkipException(
            f"Run {holder} of this backfill is running and reads the same bucket. Its result is valid for this run too."
        )
    s3.load_string(json.dumps({"run_id": dag_run.run_id, "conf": dag_run.conf}), uri, replace=True)


def _stored_holder(s3: S3Hook, uri: str) -> str | None:
    """Return the id of the run that took a lock last, or `None`. A damaged lock is taken again."""
    try:
        stored = read_json(s3, uri).get("run_id")
    except DamagedDocumentError as error:
        log.warning("%s It is ignored.", error)
        return None
    return stored if isinstance(stored, str) else None


def _lock_holder(ti: RuntimeTaskInstance, dag_run: DagRunProtocol, stored: str | None) -> str | None:
    """Return the id of another running run of the same backfill that has the lock, or `None`.

    Args:
        ti: Task instance, which counts DAG runs.
        dag_run: Run that requests the lock. It keeps the lock when its task is retried.
        stored: Id of the run that took the lock last.
    """
    if stored == dag_run.run_id:
        return None
    if stored and ti.get_dr_count(dag_run.dag_id, run_ids=[stored], states=["running"]):
        return stored
    earlier = ti.get_previous_dagrun(state="running")
    same_backfill = earlier and (earlier.run_type, earlier.conf) == ("backfill", dag_run.conf)
    return earlier.run_id if earlier and same_backfill else None


def _skip(context: Context, published: Mapping[str, Any]) -> None:
    """Skip the run, and store the name of the published run."""
    context["ti"].xcom_push(key=STAYS_PUBLISHED_KEY, value=published["run"])
    raise AirflowSkipException(
        f"Nothing has changed since run {published['run']} of {published['published_at']}, which stays published. "
        "Images, application and parameters are the same. Set the parameter `force` to run anyway."
    )


def _model_version(s3: S3Hook, context: Context) -> str | None:
    """Return the model's ETag, or `None` without a model.

    A model that Airflow cannot read (on the cluster's disk, or readable for the cluster's role only) gets a new value
    for each run, because it may have changed.
    """
    uri = run_context.onnx_model(context)
    if uri is None:
        return None
    unknown = f"unknown to {run_context.run_of(context)['name']}"
    if not uri.startswith("s3://"):
        return unknown
    bucket, key = split(uri)
    try:
        head = s3.head_object(key, bucket)
    except ClientError as error:
        log.info("The model %s cannot be read (%s), so it counts as changed.", uri, error)
        return unknown
    return head["ETag"].strip('"') if head else unknown
