"""Audit a run between writing and publishing it.

The audit reads the run's Parquet from S3 in batches and does not rely on the job's report. Each check has a name, a
severity, an actual and an expected value (docs/reference/validation.md). The caller acts on failed checks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

import polars as pl
import pyarrow as pa

from fruits_features import schemas
from fruits_features.contract.layout import FITTED_SPLIT
from include.validation import accounting, drift, projection_checks, sample_check
from include.validation.checks import Check, Severity, ValidationReport, table
from include.validation.drift import Published
from include.validation.feature_checks import FeatureChecks
from include.validation.recogniser_checks import RecogniserChecks
from include.validation.recogniser_drop import Judged, PairedRecognition, find_change
from include.validation.recogniser_drop import check as drop_check
from include.validation.table_rules import TableRules, value_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fruits_features.contract.arguments import Arguments
    from fruits_features.projection import Projection
    from fruits_features.recogniser.model import Recogniser
    from include.run_files import RunFiles, Table

__all__ = ["Audit", "Check", "Published", "Severity", "ValidationReport", "table"]

MIN_FILE_BYTES, MAX_FILE_BYTES = 64 * 2**20, 256 * 2**20


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
    """

    files: RunFiles
    arguments: Arguments
    fetch: sample_check.Fetch
    published: Published | None = None
    recogniser: bytes | None = None
    kept: bytes | None = None
    recogniser_drop: Severity = Severity.WARNING

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
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            message = " ".join(str(error).split())
            wanted = "Parquet files with the run's columns"
            report = ValidationReport(checks=(Check("tables: can be read", passed=False, saw=message, wanted=wanted),))
        return replace(report, checks=(readable, *report.checks))

    def _validate(self, projection: Projection) -> ValidationReport:
        rules_of_tables = self._rules(projection)
        schema_checks = tuple(rules.schema_check(table) for rules, table in rules_of_tables)
        if not all(check.passed for check in schema_checks):
            return ValidationReport(checks=schema_checks)
        seed, kept, has_split = crc32(self.arguments.run.encode()), self.kept is not None, self._has_split()
        features = FeatureChecks(rules_of_tables[0][0], projection, has_split=has_split, seed=seed, kept=kept)
        recogniser = RecogniserChecks(self.recogniser, projection.version, projection.k, has_split=has_split)
        paired = self._pair(recogniser.recogniser, projection)
        for batch in self.files.features.batches():
            features.add(batch)
            recogniser.add(batch)
            if paired:
                paired.add(batch)
        recognised = dict(recogniser.figures())
        judged = Judged.of(recogniser.recogniser, recognised)
        before = self.published.recogniser if self.published else None
        change = find_change(judged, before, paired)
        recognised |= {"change": change.figures()} if change else {}
        checks = (
            *schema_checks,
            Check.any_rows("inventory", self.files.inventory.rows),
            Check.any_rows("features", self.files.features.rows),
            *accounting.account(self.files, self.arguments.max_quarantine_share),
            *(check for rules, table in rules_of_tables[1:] for check in rules.read(table)),
            *features.checks(),
            *projection_checks.check(projection),
            *(() if self.kept is None else [projection_checks.check_kept(projection, self.kept)]),
            *recogniser.checks(),
            drop_check(judged, before, change, self.recogniser_drop),
            *self._file_checks(projection),
            *self._sample_checks(features, projection),
            *self._drift_checks(features, projection),
        )
        counts = {rules.name: table.rows for rules, table in rules_of_tables}
        shares = projection.explained_variance
        total = round(float(shares.sum()), 6)
        figures = {"components": len(shares), "explained_variance": total, "version": projection.version}
        return ValidationReport(counts, features.categories, figures, recognised, checks)

    def _pair(self, recogniser: Recogniser | None, projection: Projection) -> PairedRecognition | None:
        """Return the comparison of both recognisers on the same images, or `None` if it is not possible."""
        if self.published is None:
            return None
        published = self.published
        return PairedRecognition.of(recogniser, projection, published.recogniser.recogniser, published.projection)

    def _sample_checks(self, features: FeatureChecks, projection: Projection) -> Iterator[Check]:
        if features.sample is None:
            yield Check.not_checked(sample_check.CHECK_NAME, "no row of features/ is complete")
        else:
            max_pixels = self.arguments.max_image_pixels
            yield from sample_check.check(features.sample, projection, self.files, self.fetch, max_pixels)

    def _drift_checks(self, features: FeatureChecks, projection: Projection) -> Iterator[Check]:
        if self.published is None:
            yield Check.not_checked("drift: comparison with the published run", "no run is published")
        else:
            yield from drift.compare(features.categories, features.mean, projection, self.published)

    def _rules(self, projection: Projection) -> tuple[tuple[TableRules, Table], ...]:
        """Return the rules of each table with the table."""
        features, components = projection.components.shape
        rules = value_rules(self.files.bucket, features=features, components=components)
        columns = schemas.features_columns(include_pixels=self.arguments.include_pixels)
        return (
            (TableRules("features", columns, rules), self.files.features),
            (TableRules("quarantine", schemas.QUARANTINE, rules), self.files.quarantine),
            (TableRules("inventory", schemas.INVENTORY, {}), self.files.inventory),
        )

    def _has_split(self) -> bool:
        return any((batch["split"] == FITTED_SPLIT).any() for batch in self.files.inventory.batches(["split"]))

    def _file_checks(self, projection: Projection) -> Iterator[Check]:
        """Check that the files belong to this run, have its parameters and one version, and have usual sizes."""
        documents = [data or {} for table in (self.files.features, self.files.quarantine) for data in table.metadata()]
        runs = sorted({str(document.get("arguments", {}).get("run")) for document in documents})
        yield Check.equal("files: written by run", ", ".join(runs), self.arguments.run)
        yield self._arguments_check(documents)
        variants = {
            str(sorted((name, value) for name, value in document.items() if name != "projection"))
            for document in documents
        }
        yield Check.equal("files: one set of parameters and versions", len(variants), 1)
        versions = {str((document or {}).get("projection")) for document in self.files.features.metadata()}
        yield Check.equal("files: version of the projection", ", ".join(sorted(versions)), projection.version)
        yield self._size_check()

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

    def _size_check(self) -> Check:
        sizes = self.files.features.sizes()
        outside = [size for size in sizes if not MIN_FILE_BYTES <= size <= MAX_FILE_BYTES] if len(sizes) > 1 else []
        extent = f", {min(outside)} to {max(outside)} bytes" if outside else ""
        saw = f"{len(outside)} of {len(sizes)} files outside{extent}"
        wanted = f"{MIN_FILE_BYTES} to {MAX_FILE_BYTES} bytes, or a single file"
        return Check("files: sizes of features", not outside, saw, wanted, Severity.WARNING)


def _as_stored(arguments: Arguments) -> dict[str, Any]:
    """Return arguments as a file's metadata has them, without the published projection."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(arguments)))  # tuples become lists
    return {name: value for name, value in values.items() if name != "published"}
