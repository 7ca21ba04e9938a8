"""Audit a run between writing and publishing it.

The audit reads the run's Parquet from S3 in batches and does not rely on the job's report. Each check has a name, a
severity, an actual and an expected value (docs/reference/validation.md). The caller acts on failed checks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from include.validation import (
    accounting,
    cluster_figures,
    drift,
    feature_checks,
    projection_checks,
    recogniser_checks,
    recognition,
    sample_check,
)
from include.validation.checks import Check, Severity, ValidationReport, table
from include.validation.cluster_figures import Measured
from include.validation.drift import Published
from include.validation.measure import Subject
from include.validation.recogniser_checks import RecogniserChecks
from include.validation.recogniser_drop import EvaluatedRecogniser, PairedRecognition, find_change
from include.validation.recogniser_drop import check as drop_check
from include.validation.table_rules import TableCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fruits_features.contract.arguments import Arguments
    from fruits_features.projection import Projection
    from include.run_files import RunFiles
    from include.validation.figures import Figures

__all__ = ["Audit", "Check", "Published", "Severity", "ValidationReport", "table"]

MIN_FILE_BYTES, MAX_FILE_BYTES = 64 * 2**20, 256 * 2**20
_ORDER = ("quarantine", "inventory", "features")
"""Tables in the order of their checks."""


@dataclass(frozen=True)
class Audit:
    """A run and its expected properties.

    Args:
        files: Tables of the run.
        arguments: Arguments that the run was requested with. `published` is ignored: it names the projection that was
            published when the step began.
        fetch: Function that fetches the images of the sample.
        published: Published run to compare with, or `None`.
        recogniser: Stored recogniser, or `None` if the run has none.
        kept: Stored projection that the run kept, empty if it no longer exists. `None` if the run fitted its own.
        recogniser_drop: Severity of a recogniser that is worse than the published one.
        measured: Stored figures that a cluster has computed from the rows. `None`: the rows are read here.
    """

    files: RunFiles
    arguments: Arguments
    fetch: sample_check.Fetch
    published: Published | None = None
    recogniser: bytes | None = None
    kept: bytes | None = None
    recogniser_drop: Severity = Severity.WARNING
    measured: bytes | None = None

    def validate(self, stored: bytes) -> ValidationReport:
        """Run all checks.

        The report ends after a check on which the others depend: a damaged projection, an unreadable file or columns of
        another type.

        Args:
            stored: Bytes of the run's portable projection.
        """
        projection, readable = projection_checks.read(stored)
        if projection is None:
            return ValidationReport(checks=(readable,))
        try:
            report = self._validate(projection)
        except (pa.ArrowException, OSError) as error:
            report = _unreadable(error)
        return replace(report, checks=(readable, *report.checks))

    def _validate(self, projection: Projection) -> ValidationReport:
        subject = self.subject(projection)
        schema_checks = subject.schema_checks()
        if not all(check.passed for check in schema_checks):
            return ValidationReport(checks=schema_checks)
        measured = self._measure(subject)
        if measured.figures is None:
            return ValidationReport(checks=(*schema_checks, *measured.checks))
        if measured.figures.unreadable:
            return _unreadable(measured.figures.unreadable[0])
        compared = subject if measured.has_paired else replace(subject, paired=None)
        report = self._judge(compared, measured.figures)
        return replace(report, checks=(*schema_checks, *measured.checks, *report.checks))

    def _measure(self, subject: Subject) -> Measured:
        """Return the figures of the run: those of the cluster, or else measured here."""
        if self.measured is None:
            return Measured((), subject.measure(), has_paired=True)
        return cluster_figures.compare(self.measured, subject)

    def subject(self, projection: Projection) -> Subject:
        """Return the run as it is measured."""
        recogniser, _ = recogniser_checks.read(self.recogniser)
        paired = None
        if self.published:
            before, old = self.published.evaluated.recogniser, self.published.projection
            paired = PairedRecognition.of(recogniser, projection, before, old)
        return Subject(self.files, self.arguments, projection, recogniser, paired)

    def _judge(self, subject: Subject, figures: Figures) -> ValidationReport:
        """Return the result of the checks that need the rows.

        Args:
            subject: The run as it was measured.
            figures: Its figures.
        """
        projection, rows = subject.projection, {name: getattr(self.files, name).rows for name in subject.rules}
        applied = subject.applied
        recognised = recognition.figures(applied, figures.answers) if applied else {}
        evaluated = EvaluatedRecogniser.of(subject.recogniser, recognised)
        before = self.published.evaluated if self.published else None
        change = find_change(evaluated, before, figures.paired if subject.paired else None)
        recognised |= {"change": change.figures()} if change else {}
        tables = {name: figures.tables.get(name, TableCounts()) for name in subject.rules}
        checks = (
            Check.any_rows("inventory", rows["inventory"]),
            Check.any_rows("features", rows["features"]),
            *accounting.check(rows, figures.errors, self.arguments.max_quarantine_share),
            *(check for name in _ORDER for check in subject.rules[name].checks(tables[name])),
            *feature_checks.check(figures.vectors, projection, kept=self.kept is not None),
            *projection_checks.check(projection),
            *(() if self.kept is None else [projection_checks.check_kept(projection, self.kept)]),
            *RecogniserChecks(self.recogniser, projection.version, projection.k, figures.means).checks(),
            drop_check(evaluated, before, change, self.recogniser_drop),
            *self._file_checks(projection),
            *self._sample_checks(figures.sample, projection),
            *self._drift_checks(figures, projection),
        )
        shares = projection.explained_variance
        total = round(float(shares.sum()), 6)
        fitted = {"components": len(shares), "explained_variance": total, "version": projection.version}
        return ValidationReport(rows, figures.categories, fitted, recognised, checks)

    def _sample_checks(self, sample: pa.Table | None, projection: Projection) -> Iterator[Check]:
        if sample is None:
            yield Check.not_checked(sample_check.CHECK_NAME, "no row of features/ is complete")
        else:
            max_pixels = self.arguments.max_image_pixels
            yield from sample_check.check(sample, projection, self.files, self.fetch, max_pixels)

    def _drift_checks(self, figures: Figures, projection: Projection) -> Iterator[Check]:
        if self.published is None:
            yield Check.not_checked("drift: comparison with the published run", "no run is published")
        else:
            mean = figures.vectors.mean(projection)
            yield from drift.compare(figures.categories, mean, projection, self.published)

    def _file_checks(self, projection: Projection) -> Iterator[Check]:
        """Check that the files belong to this run, have its parameters and one version, and have usual sizes."""
        tables = (self.files.features, self.files.quarantine)
        documents = [footer.metadata or {} for table in tables for footer in table.footers.values()]
        runs = sorted({str(document.get("arguments", {}).get("run")) for document in documents})
        yield Check.equal("files: written by run", ", ".join(runs), self.arguments.run)
        yield self._arguments_check(documents)
        variants = {
            str(sorted((name, value) for name, value in document.items() if name != "projection"))
            for document in documents
        }
        yield Check.equal("files: one set of parameters and versions", len(variants), 1)
        of_features = self.files.features.footers.values()
        versions = {str((footer.metadata or {}).get("projection")) for footer in of_features}
        yield Check.equal("files: version of the projection", ", ".join(sorted(versions)), projection.version)
        yield _size_check(list(self.files.features.sizes.values()))

    def _arguments_check(self, documents: Sequence[Mapping[str, Any]]) -> Check:
        """Check that the arguments in the files' metadata are those requested."""
        requested = _as_stored(self.arguments)
        different = {
            name: document.get("arguments", {}).get(name, "missing")
            for document in documents
            for name in requested
            if document.get("arguments", {}).get(name, "missing") != requested[name]
        }
        saw = ", ".join(f"{name} = {value}" for name, value in different.items()) or "as requested"
        wanted = ", ".join(f"{name} = {requested[name]}" for name in different) or "as requested"
        return Check("files: arguments", not different, saw, wanted)


def _size_check(sizes: Sequence[int]) -> Check:
    outside = [size for size in sizes if not MIN_FILE_BYTES <= size <= MAX_FILE_BYTES] if len(sizes) > 1 else []
    extent = f", {min(outside)} to {max(outside)} bytes" if outside else ""
    saw = f"{len(outside)} of {len(sizes)} files outside{extent}"
    wanted = f"{MIN_FILE_BYTES} to {MAX_FILE_BYTES} bytes, or a single file"
    return Check("files: sizes of features", not outside, saw, wanted, Severity.WARNING)


def _unreadable(error: object) -> ValidationReport:
    saw, wanted = " ".join(str(error).split()), "Parquet files with the run's columns"
    return ValidationReport(checks=(Check("tables: can be read", passed=False, saw=saw, wanted=wanted),))


def _as_stored(arguments: Arguments) -> dict[str, Any]:
    """Return arguments as a file's metadata has them, without the published projection."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(arguments)))  # tuples become lists
    return {name: value for name, value in values.items() if name != "published"}
