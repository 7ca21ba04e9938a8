"""Task `publish`: write the report and `run.json`, then move `latest.json`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import get_current_context

from fruits_airflow import run_context
from fruits_airflow.emr import cost
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import published_paths, read, read_json
from fruits_airflow.links import RunFolderLink, run_task
from fruits_airflow.s3 import pointer
from fruits_features.contract.layout import RunLayout
from fruits_features.contract.layout import latest as latest_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from include.report.build import About, Previous

log = logging.getLogger(__name__)


@run_task(retries=3, doc_md="Writes the report and `run.json`, then `latest.json`, which readers follow, in one PUT.")
def publish() -> str:
    """Make the run the published one.

    Returns:
        The URI of `latest.json`.

    Raises:
        AirflowSkipException: a run that read the bucket later is published.
    """
    from include.publication import documents

    context = get_current_context()
    s3 = aws.s3(extra_args={"ContentType": "application/json; charset=utf-8"})
    run, dag_run = run_context.run_of(context), context["dag_run"]
    RunFolderLink.to(run["uri"], context, s3)
    pointer.require_newer(read_json(s3, latest_uri(run["bucket"])), run["name"], run["taken_at"])
    layout, validation = RunLayout(run["uri"]), context["ti"].xcom_pull(task_ids="validate_parquet")
    _write_report(s3, layout, context, validation)
    document = documents.run_document(
        {**run, "recipe": context["ti"].xcom_pull(task_ids="find_changes")},
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
    uri = pointer.publish(s3, document, latest)
    log.info("Published run %s.", run["name"])
    return uri


def _write_report(s3: S3Hook, layout: RunLayout, context: Context, validation: Mapping[str, Any]) -> None:
    """Write the report's page and its figures."""
    from fruits_features.projection import Projection
    from include.publication import documents
    from include.report import build
    from include.run_files import RunFiles

    files, seconds = RunFiles(layout, aws.filesystem(s3)), _durations(context)
    inputs = build.Inputs(
        run=layout.name,
        files=files,
        projection=Projection.from_bytes(read(s3, layout.portable_projection) or b""),
        validation=validation,
        fetch=lambda key: read(s3, f"s3://{files.bucket}/{key}"),
        seconds=seconds,
        **cost.reported_cost(cost.run_cost(context), seconds),
        previous=_previous(s3, files.bucket),
        about=_about(s3, layout, context),
    )
    made = build.build(inputs)
    pages = aws.s3(extra_args={"ContentType": "text/html; charset=utf-8"})
    pages.load_bytes(made.html, layout.report_page, replace=True)
    s3.load_bytes(documents.encode(made.figures), layout.report_figures, replace=True)
    log.info("Report: %s (%d KB).", layout.report_page, len(made.html) // 1024)


def _about(s3: S3Hook, layout: RunLayout, context: Context) -> About:
    """Where the run comes from."""
    from include.report.build import About

    run, outcome = run_context.run_of(context), read_json(s3, layout.outcome)
    images = f"s3://{run['bucket']}/{run['prefix']}"
    return About(images, run["taken_at"], outcome["kept_from"], outcome["why"], context["params"])


def _durations(context: Context) -> dict[str, float]:
    """How long each task that is over took, in seconds, in the order of the flow."""
    dag_run, task_instance = context["dag_run"], cast("RuntimeTaskInstance", context["ti"])
    over = task_instance.get_task_breadcrumbs(dag_run.dag_id, dag_run.run_id)
    took = {one["task_id"]: one["duration"] for one in over if one["duration"]}
    flow = [one.task_id for one in context["dag"].topological_sort()]  # type: ignore[no-untyped-call]
    return {task: took[task] for task in flow if task in took}


def _previous(s3: S3Hook, bucket: str) -> Previous | None:
    """What the published run's own report says; `None` where nothing is published."""
    from include.report.build import Previous

    paths = published_paths(s3, bucket)
    document = read_json(s3, paths["run"]) if paths else {}
    if not document:
        return None
    return Previous(document, read_json(s3, RunLayout(paths["run"].rpartition("/")[0]).report_figures) or None)


def _checksums(s3: S3Hook, layout: RunLayout) -> dict[str, str]:
    """What S3 holds of the run, by name below its prefix: S3's own ETags, which readers can compare without reading."""
    bucket, prefix = S3Hook.parse_s3_url(f"{layout.prefix}/")
    found = {one["Key"].removeprefix(prefix): one["ETag"].strip('"') for one in s3.iter_file_metadata(prefix, bucket)}
    record = layout.record.removeprefix(f"{layout.prefix}/")  # of an earlier try
    return {name: f"etag:{etag}" for name, etag in found.items() if name != record}
