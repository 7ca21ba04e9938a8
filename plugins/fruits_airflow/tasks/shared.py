"""The tasks both DAGs share: inventory, application, validation, publishing.

Bodies only: the order is the DAGs' business, the clusters are operators'. What is heavy to import is imported where it
is used, so that a DAG parses quickly.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import aws, clusters, deployed, inventories, publication, templates
from fruits_airflow.links import RunFolderLink, run_task
from fruits_airflow.objects import read, read_json
from fruits_airflow.waiting import Wanted
from fruits_features.families import MODEL_FAMILY
from fruits_features.layout import RunLayout
from fruits_features.layout import latest as latest_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from include.report import About, Previous
    from include.validation import Published, Report

log = logging.getLogger(__name__)


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
    bucket, prefix = templates.bucket(context), templates.image_prefix(context)
    s3 = aws.s3()
    run = _free_layout(context, s3, bucket)
    no_images = Wanted(bucket, prefix, marker=context["params"]["marker"]).no_images
    taken = inventories.take(s3, (bucket, prefix), run.inventory, no_images)
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


@task(retries=3, doc_md="Puts the Spark application into S3 under its content's hash, unless it is there already.")
def upload_application(*, for_emr: bool = True) -> dict[str, str]:
    """Make sure that S3 holds what the cluster will run.

    Args:
        for_emr: the cluster is made for this run and installs the application's requirements from the wheelhouse.

    Returns:
        Artifact URIs by role (`include.artifacts.ArtifactUris`).
    """
    from include import artifacts
    from include.settings import settings

    context = get_current_context()
    folder, onnx = artifacts.application_folder(), MODEL_FAMILY in context["params"]["features"]
    base = f"s3://{templates.bucket(context)}/{settings().artifact_prefix}"
    built = artifacts.build(folder, onnx=onnx)
    s3 = aws.s3()
    wheels = deployed.wheelhouse(s3, artifacts.wheelhouse_name(folder, onnx=onnx), required=for_emr)
    for artifact in built.values():
        uri = f"{base}{artifact.name}"
        if s3.check_for_key(uri):
            log.info("%s is there already.", uri)
        else:
            s3.load_bytes(artifact.content, uri, replace=True)
            log.info("Uploaded %s (%s bytes).", uri, len(artifact.content))
    return templates.as_xcom(artifacts.uris(built, base, wheels))


@run_task(
    retries=2, doc_md="Checks the Parquet that was written against inventory and contract; a failed check ends the run."
)
def validate_parquet() -> dict[str, Any]:
    """Read what was written and check it.

    Returns:
        Counts, the projection's figures, and every check with what it saw and wanted.

    Raises:
        AirflowFailException: at least one check failed; the message names each, with its figures.
    """
    from include.validation import table

    context, s3 = get_current_context(), aws.s3()
    run = templates.run_of(context)
    RunFolderLink.to(run["uri"], context, s3)
    report = _audit(run, context["params"], s3)
    log.info("Validation of run %s:\n%s", run["name"], table(report.checks))
    if report.warnings:
        log.warning("Worth a look:\n%s", table(report.warnings))
    if report.failed:
        log.error("Failed checks; %s stays as it is for inspection:\n%s", run["uri"], table(report.failed))
        raise AirflowFailException(f"Run {run['name']} is not published: {report.failure()}")
    return report.as_dict()


def _audit(run: Mapping[str, Any], params: Mapping[str, Any], s3: S3Hook) -> Report:
    from include.validation import Audit, RunFiles

    layout = RunLayout(run["uri"])
    stored = read(s3, layout.portable_projection)
    if stored is None:
        raise AirflowFailException(
            f"There is no {layout.portable_projection}: the Spark application did not finish this run; run it again."
        )
    kept_from = read_json(s3, layout.outcome)["kept_from"]
    audit = Audit(
        files=RunFiles(layout, aws.filesystem(s3)),
        run=run["name"],
        include_pixels=params["include_pixels"],
        max_quarantine_share=params["max_quarantine_share"],
        fetch=lambda key, etag: read(s3, f"s3://{run['bucket']}/{key}", etag),
        published=_published(s3, run["bucket"]),
        kept=(read(s3, kept_from) or b"") if kept_from else None,
    )
    return audit.validate(stored)


def _published(s3: S3Hook, bucket: str) -> Published | None:
    """What is known of the published run; `None` where nothing is published."""
    from include.validation import Published, projection

    paths = _published_paths(s3, bucket)
    if not paths:
        return None
    record, stored = read_json(s3, paths["run"]), read(s3, paths["projection"])
    return Published(record.get("categories", {}), projection.read(stored)[0] if stored else None)


def _published_paths(s3: S3Hook, bucket: str) -> dict[str, str]:
    """Where the results of the published run lie; empty where nothing is published."""
    paths: dict[str, str] = read_json(s3, latest_uri(bucket)).get("paths", {})
    return paths


@run_task(retries=3, doc_md="Writes the report and `run.json`, then `latest.json`, which readers follow, in one PUT.")
def publish() -> str:
    """Make the run the published one.

    Returns:
        The URI of `latest.json`.

    Raises:
        AirflowSkipException: a run that read the bucket later is published.
    """
    from include import publishing

    context = get_current_context()
    s3 = aws.s3(extra_args={"ContentType": "application/json; charset=utf-8"})
    run, dag_run = templates.run_of(context), context["dag_run"]
    RunFolderLink.to(run["uri"], context, s3)
    publication.require_newer(read_json(s3, latest_uri(run["bucket"])), run["name"], run["taken_at"])
    layout, validation = RunLayout(run["uri"]), context["ti"].xcom_pull(task_ids="validate_parquet")
    _write_report(s3, layout, context, validation)
    document = publishing.run_document(
        {**run, "recipe": context["ti"].xcom_pull(task_ids="find_changes")},
        figures={
            **validation,
            "files": _checksums(s3, layout),
            "outcome": read_json(s3, layout.outcome),
            "cost": clusters.run_cost(context),
        },
        params=context["params"],
        artifacts=templates.as_xcom(templates.artifacts_of(context)),
        dag_run={"dag_id": dag_run.dag_id, "run_id": dag_run.run_id},
    )
    pointer = publishing.latest_document(document, published_at=datetime.now(UTC).isoformat(timespec="seconds"))
    latest = publication.publish(s3, document, pointer)
    log.info("Published run %s.", run["name"])
    return latest


def _write_report(s3: S3Hook, layout: RunLayout, context: Context, validation: Mapping[str, Any]) -> None:
    """Write the report's page and its figures."""
    from fruits_features.projection import Projection
    from include import publishing, report
    from include.validation import RunFiles

    files, seconds = RunFiles(layout, aws.filesystem(s3)), _durations(context)
    inputs = report.Inputs(
        run=layout.name,
        files=files,
        projection=Projection.from_bytes(read(s3, layout.portable_projection) or b""),
        validation=validation,
        fetch=lambda key: read(s3, f"s3://{files.bucket}/{key}"),
        seconds=seconds,
        **clusters.reported_cost(clusters.run_cost(context), seconds),
        previous=_previous(s3, files.bucket),
        about=_about(s3, layout, context),
    )
    made = report.build(inputs)
    pages = aws.s3(extra_args={"ContentType": "text/html; charset=utf-8"})
    pages.load_bytes(made.html, layout.report_page, replace=True)
    s3.load_bytes(publishing.encode(made.figures), layout.report_figures, replace=True)
    log.info("Report: %s (%d KB).", layout.report_page, len(made.html) // 1024)


def _about(s3: S3Hook, layout: RunLayout, context: Context) -> About:
    """Where the run comes from."""
    from include.report import About

    run, outcome = templates.run_of(context), read_json(s3, layout.outcome)
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
    from include.report import Previous

    paths = _published_paths(s3, bucket)
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
