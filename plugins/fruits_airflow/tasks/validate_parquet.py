"""Task `validate_parquet`: check what the application wrote."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import published_paths, read, read_json
from fruits_airflow.links import RunFolderLink, run_task
from fruits_features.contract.layout import RunLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from include.validation.audit import Published, Report

log = logging.getLogger(__name__)


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
    from include.validation.audit import table

    context, s3 = get_current_context(), aws.s3()
    run = run_context.run_of(context)
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
    from include.run_files import RunFiles
    from include.validation.audit import Audit

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
    from include.validation import projection
    from include.validation.audit import Published

    paths = published_paths(s3, bucket)
    if not paths:
        return None
    record, stored = read_json(s3, paths["run"]), read(s3, paths["projection"])
    return Published(record.get("categories", {}), projection.read(stored)[0] if stored else None)
