"""Task `publish`: write the report and `run.json`, then move `latest.json`."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import get_current_context

from fruits_airflow import run_context
from fruits_airflow.emr import cost
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.documents import read_latest, read_published_record
from fruits_airflow.hooks.s3 import read, read_image, read_json
from fruits_airflow.links import RunFolderLink, run_task
from fruits_airflow.s3 import pointer
from fruits_airflow.task_ids import FIND_CHANGES, VALIDATE_ON_CLUSTER, VALIDATE_PARQUET
from fruits_features.contract.layout import RunLayout, split
from fruits_features.contract.sealed import DamagedDocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import Context
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from fruits_features.contract.layout import DatasetLayout
    from include.report.build import About, Previous
    from include.report.sample import Totals

log = logging.getLogger(__name__)


@run_task(
    retries=3, doc_md="Writes the report and `run.json`. Then replaces `latest.json`, which readers follow, in one PUT."
)
def publish() -> str:
    """Publish the run.

    Returns:
        URI of `latest.json`.

    Raises:
        AirflowFailException: `latest.json` is damaged or in the future, or names a run on another image prefix. Or an
            earlier task has no result.
        AirflowSkipException: A run with a later inventory is published.
    """
    from include.publication import documents

    context = get_current_context()
    run, dag_run = run_context.run_of(context), context["dag_run"]
    s3 = run_context.s3_of(run, extra_args={"ContentType": "application/json; charset=utf-8"})
    RunFolderLink.to(run["uri"], context, s3)
    recipe, validation = (run_context.result_of(context, task_id) for task_id in (FIND_CHANGES, VALIDATE_PARQUET))
    dataset = run_context.dataset_of(run)
    pointer.require_newer(read_latest(s3, dataset), run["name"], run["taken_at"])
    layout = RunLayout(run["uri"])
    _write_report(s3, layout, context, validation)
    document = documents.run_document(
        {**run, "recipe": recipe},
        figures={
            **validation,
            "files": _checksums(s3, layout),
            "outcome": read_json(s3, layout.outcome),
            "cost": cost.run_cost(context),
        },
        params=context["params"],
        artifacts=run_context.as_xcom(run_context.artifacts_of(context)),
        dag_run={"dag_id": dag_run.dag_id, "run_id": dag_run.run_id},
    )
    latest = documents.latest_document(document, published_at=datetime.now(UTC).isoformat(timespec="seconds"))
    uri = pointer.publish(s3, dataset, document, latest, may_replace=context["params"]["replace_dataset"])
    log.info("Published run %s.", run["name"])
    return uri


def _write_report(s3: S3Hook, layout: RunLayout, context: Context, validation: Mapping[str, Any]) -> None:
    """Write the report page and its figures as JSON."""
    from fruits_features.projection import Projection
    from include.publication import documents
    from include.report import build
    from include.run_files import RunFiles
    from include.settings import settings

    files, seconds, limits = RunFiles(layout, aws.filesystem(s3)), _durations(context), settings()
    inputs = build.Inputs(
        run=layout.name,
        files=files,
        projection=Projection.from_bytes(read(s3, *split(layout.portable_projection)) or b""),
        validation=validation,
        fetch=lambda key: read_image(s3, files.bucket, key, max_bytes=limits.max_image_bytes),
        max_image_pixels=limits.max_image_pixels,
        seconds=seconds,
        **cost.reported_cost(cost.run_cost(context), seconds),
        previous=_previous(s3, run_context.dataset_of(run_context.run_of(context))),
        about=_about(s3, layout, context),
        **_recogniser(s3, layout),
        totals=_totals(s3, layout, context),
    )
    report = build.build(inputs)
    pages = run_context.s3_of(run_context.run_of(context), extra_args={"ContentType": "text/html; charset=utf-8"})
    pages.load_bytes(report.html, layout.report_page, replace=True)
    s3.load_bytes(documents.encode(report.figures), layout.report_figures, replace=True)
    log.info("Report: %s (%d KB).", layout.report_page, len(report.html) // 1024)


def _recogniser(s3: S3Hook, layout: RunLayout) -> dict[str, Any]:
    """Return the run's recogniser, or the reason why it has none, as inputs of the report."""
    from fruits_features.recogniser.model import Recogniser

    stored = read(s3, *split(layout.portable_recogniser))
    if stored:
        return {"recogniser": Recogniser.from_bytes(stored)}
    return {"no_recogniser": read_json(s3, layout.outcome)["why_no_recogniser"]}


def _totals(s3: S3Hook, layout: RunLayout, context: Context) -> Totals | None:
    """Return the counts of the cluster's second step, or `None` if the run had none."""
    from include.report.sample import Totals

    has_step = context["ti"].xcom_pull(task_ids=VALIDATE_ON_CLUSTER)
    stored = read(s3, *split(layout.report_totals)) if has_step else None
    return Totals.of_dict(json.loads(stored)) if stored else None


def _about(s3: S3Hook, layout: RunLayout, context: Context) -> About:
    """Return the origin of the run: images, inventory time, projection and parameters."""
    from include.report.build import About

    run, outcome = run_context.run_of(context), read_json(s3, layout.outcome)
    images = f"s3://{run['bucket']}/{run['prefix']}"
    return About(images, run["taken_at"], outcome["kept_from"], outcome["why"], context["params"])


def _durations(context: Context) -> dict[str, float]:
    """Return the duration of each ended task in seconds, by task id in topological order."""
    dag_run, task_instance = context["dag_run"], cast("RuntimeTaskInstance", context["ti"])
    ended = task_instance.get_task_breadcrumbs(dag_run.dag_id, dag_run.run_id)
    durations = {entry["task_id"]: entry["duration"] for entry in ended if entry["duration"]}
    order = [operator.task_id for operator in context["dag"].topological_sort()]  # type: ignore[no-untyped-call]
    return {task: durations[task] for task in order if task in durations}


def _previous(s3: S3Hook, dataset: DatasetLayout) -> Previous | None:
    """Return the record and report figures of the published run, or `None` when nothing is published or readable."""
    from include.report.build import Previous

    published = read_latest(s3, dataset)
    document = read_published_record(s3, published)
    if not document:
        return None
    try:
        figures = read_json(s3, RunLayout(published["paths"]["run"].rpartition("/")[0]).report_figures)
    except DamagedDocumentError as error:
        log.warning("%s The report compares nothing with it.", error)
        figures = {}
    return Previous(document, figures or None)


def _checksums(s3: S3Hook, layout: RunLayout) -> dict[str, str]:
    """Return the ETags of the run's objects, by name below its prefix. Readers can compare them without downloading."""
    bucket, prefix = split(f"{layout.prefix}/")
    objects = s3.iter_file_metadata(prefix, bucket)
    etags = {entry["Key"].removeprefix(prefix): entry["ETag"].strip('"') for entry in objects}
    record = layout.record.removeprefix(f"{layout.prefix}/")  # written by an earlier try
    return {name: f"etag:{etag}" for name, etag in etags.items() if name != record}
