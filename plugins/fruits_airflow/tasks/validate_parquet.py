"""Task `validate_parquet`: check the files that the application wrote."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.documents import read_latest, read_published_record
from fruits_airflow.hooks.s3 import read, read_image, read_json
from fruits_airflow.links import RunFolderLink, run_task
from fruits_airflow.task_ids import (
    FEATURIZE_AND_REDUCE,
    FEATURIZE_ON_WORKER,
    VALIDATE_ON_CLUSTER,
    VALIDATE_PARQUET,
)
from fruits_features.contract.layout import RunLayout, split
from fruits_features.contract.sealed import DamagedDocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import Context

    from fruits_features.contract.layout import DatasetLayout
    from fruits_features.recogniser.model import Recogniser
    from include.validation.audit import Published, ValidationReport

log = logging.getLogger(__name__)


@run_task(
    task_id=VALIDATE_PARQUET,
    doc_md="Checks the Parquet files against the inventory and the data contract. A failed check fails the run.",
)
def validate_parquet() -> dict[str, Any]:
    """Read and check the application's results.

    Returns:
        Counts, the projection's figures, and each check with its observed and expected value.

    Raises:
        AirflowFailException: A check failed. The message names each failed check and its figures.
    """
    from include.validation.audit import table

    context = get_current_context()
    run = run_context.run_of(context)
    s3 = run_context.s3_of(run)
    RunFolderLink.to(run["uri"], context, s3)
    report = _audit(run, context, s3)
    log.info("Validation of run %s:\n%s", run["name"], table(report.checks))
    if report.warnings:
        log.warning("Checks with warnings:\n%s", table(report.warnings))
    if report.not_checked:
        log.warning("Checks that were not made:\n%s", table(report.not_checked))
    if report.failed:
        log.error("Failed checks. %s is kept for inspection:\n%s", run["uri"], table(report.failed))
        raise AirflowFailException(f"Run {run['name']} is not published: {report.failure()}")
    return report.as_dict()


def _audit(run: Mapping[str, Any], context: Context, s3: S3Hook) -> ValidationReport:
    from include.run_files import RunFiles
    from include.validation.audit import Audit, Severity

    layout = RunLayout(run["uri"])
    stored = read(s3, *split(layout.portable_projection))
    if stored is None:
        raise _not_completed(layout.portable_projection)
    kept_from = _outcome(s3, layout)["kept_from"]
    audit = Audit(
        files=RunFiles(layout, aws.filesystem(s3)),
        arguments=run_context.requested_arguments(context),
        fetch=lambda key, etag: read_image(s3, run["bucket"], key, etag),
        published=_published(s3, run_context.dataset_of(run)),
        recogniser=read(s3, *split(layout.portable_recogniser)),
        kept=(read(s3, *split(kept_from)) or b"") if kept_from else None,
        recogniser_drop=Severity(context["params"]["recogniser_drop"]),
        measured=_measured(s3, layout, context),
    )
    return audit.validate(stored)


def _measured(s3: S3Hook, layout: RunLayout, context: Context) -> bytes | None:
    """Return the figures of the cluster's second step, or `None` if the run had none."""
    if not context["ti"].xcom_pull(task_ids=VALIDATE_ON_CLUSTER):
        return None
    stored = read(s3, *split(layout.validation_figures))
    if stored is None:
        log.warning("%s does not exist. This worker reads all rows itself.", layout.validation_figures)
    return stored


def _outcome(s3: S3Hook, layout: RunLayout) -> dict[str, Any]:
    """Return the application's report.

    Raises:
        AirflowFailException: It is damaged or missing, for example because a task was marked as successful by hand.
    """
    try:
        outcome = read_json(s3, layout.outcome)
    except DamagedDocumentError as error:
        raise AirflowFailException(
            f"{error} Clear `{FEATURIZE_AND_REDUCE}`, or without a cluster `{FEATURIZE_ON_WORKER}`, to write it again."
        ) from error
    if not outcome:
        raise _not_completed(layout.outcome)
    return outcome


def _not_completed(missing: str) -> AirflowFailException:
    return AirflowFailException(
        f"{missing} does not exist, so the application did not complete this run. Clear `{FEATURIZE_AND_REDUCE}`, or "
        f"without a cluster `{FEATURIZE_ON_WORKER}`, to run it again."
    )


def _published(s3: S3Hook, dataset: DatasetLayout) -> Published | None:
    """Return the published run, or `None` when nothing is published or readable."""
    from include.validation import projection_checks
    from include.validation.audit import Published
    from include.validation.recogniser_drop import EvaluatedRecogniser

    published = read_latest(s3, dataset)
    record = read_published_record(s3, published)
    if not record:
        return None
    projection = published["paths"].get("projection")
    stored = read(s3, *split(projection)) if projection else None
    return Published(
        record["categories"],
        projection_checks.read(stored)[0] if stored else None,
        EvaluatedRecogniser.of(_recogniser(s3, published["paths"].get("recogniser")), record.get("recogniser", {})),
    )


def _recogniser(s3: S3Hook, uri: str | None) -> Recogniser | None:
    """Return a published recogniser, or `None` with a warning if it is missing or damaged."""
    from fruits_features.recogniser.model import Recogniser, UnreadableRecogniserError

    if uri is None:
        return None
    try:
        return Recogniser.from_bytes(read(s3, *split(uri)) or b"")
    except UnreadableRecogniserError as error:
        log.warning("%s cannot be read (%s). Nothing is compared with it.", uri, error)
        return None
