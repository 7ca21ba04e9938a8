"""The audit between writing and publishing: is what was written what was asked for?

Reads the run's Parquet from S3, not what the job said of it, a batch at a time. Every check has a name, a severity,
what it saw and what it wanted; docs/reference/validation.md lists them. What follows from a failed check is left to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from zlib import crc32

import polars as pl
import pyarrow as pa

from fruits_features import schemas
from fruits_features.contract.layout import FITTED_SPLIT
from include.validation import accounting, drift, projection, sample
from include.validation.checks import Check, Report, Severity, table
from include.validation.contract import Contract, value_rules
from include.validation.drift import Published
from include.validation.vectors import Vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fruits_features.projection import Projection
    from include.run_files import RunFiles, Table

__all__ = ["Audit", "Check", "Published", "Report", "Severity", "table"]

LEAST_FILE_BYTES, MOST_FILE_BYTES = 64 * 2**20, 256 * 2**20


@dataclass(frozen=True)
class Audit:
    """One run, and what it was asked for.

    Args:
        files: its tables.
        run: its name.
        include_pixels: whether `features/` has the column `image`.
        max_quarantine_share: the largest share of the inventory that may be in quarantine.
        fetch: gets images, for the sample.
        published: the published run, to compare with; `None` for none.
        kept: the stored projection that the run says it has kept, empty where it is gone; `None` where the run has
            fitted its own.
    """

    files: RunFiles
    run: str
    include_pixels: bool
    max_quarantine_share: float
    fetch: sample.Fetch
    published: Published | None = None
    kept: bytes | None = None

    def validate(self, stored: bytes) -> Report:
        """Ask every question.

        What makes others pointless is asked first: with a damaged projection, a file that cannot be read or columns of
        another type, the report ends there.

        Args:
            stored: the run's portable projection, as it is stored.
        """
        found, readable = projection.read(stored)
        if found is None:
            return Report(checks=(readable,))
        try:
            report = self._validate(found)
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            message = " ".join(str(error).split())
            wanted = "Parquet files with the run's columns"
            report = Report(checks=(Check("tables: can be read", passed=False, saw=message, wanted=wanted),))
        return replace(report, checks=(readable, *report.checks))

    def _validate(self, found: Projection) -> Report:
        contracts = self._contracts(found)
        declared = tuple(contract.schema_check(table) for contract, table in contracts)
        if not all(one.passed for one in declared):
            return Report(checks=declared)
        seed, kept = crc32(self.run.encode()), self.kept is not None
        vectors = Vectors(contracts[0][0], found, has_split=self._has_split(), seed=seed, kept=kept)
        vectors.read(self.files.features)
        checks = (
            *declared,
            *accounting.account(self.files, self.max_quarantine_share),
            *(check for contract, table in contracts[1:] for check in contract.read(table)),
            *vectors.checks(),
            *projection.check(found),
            *(() if self.kept is None else [projection.check_kept(found, self.kept)]),
            *self._files(found),
            *(() if vectors.sample is None else sample.check(vectors.sample, found, self.files, self.fetch)),
            *(() if self.published is None else drift.compare(vectors.categories, vectors.mean, found, self.published)),
        )
        counts = {contract.name: table.rows for contract, table in contracts}
        shares = found.explained_variance
        total = round(float(shares.sum()), 6)
        figures = {"components": len(shares), "explained_variance": total, "version": found.version}
        return Report(counts, vectors.categories, figures, checks)

    def _contracts(self, found: Projection) -> tuple[tuple[Contract, Table], ...]:
        """Pair each table with its contract."""
        features, components = found.components.shape
        rules = value_rules(self.files.bucket, features=features, components=components)
        columns = schemas.features_columns(include_pixels=self.include_pixels)
        return (
            (Contract("features", columns, rules), self.files.features),
            (Contract("quarantine", schemas.QUARANTINE, rules), self.files.quarantine),
            (Contract("inventory", schemas.INVENTORY, {}), self.files.inventory),
        )

    def _has_split(self) -> bool:
        return any((batch["split"] == FITTED_SPLIT).any() for batch in self.files.inventory.batches(["split"]))

    def _files(self, found: Projection) -> Iterator[Check]:
        """Are the files of this run, of one kind, and of sizes that readers like?"""
        words = [one or {} for table in (self.files.features, self.files.quarantine) for one in table.metadata()]
        runs = sorted({str(one.get("arguments", {}).get("run")) for one in words})
        yield Check.equal("files: written by run", ", ".join(runs), self.run)
        kinds = {str(sorted((name, value) for name, value in one.items() if name != "projection")) for one in words}
        yield Check.equal("files: different parameters or versions", len(kinds), 1)
        versions = {str((one or {}).get("projection")) for one in self.files.features.metadata()}
        yield Check.equal("files: version of the projection", ", ".join(sorted(versions)), found.version)
        sizes = self.files.features.sizes()
        odd = [size for size in sizes if not LEAST_FILE_BYTES <= size <= MOST_FILE_BYTES] if len(sizes) > 1 else []
        saw = f"{len(odd)} of {len(sizes)} files outside" + (f", {min(odd)} to {max(odd)} bytes" if odd else "")
        wanted = f"{LEAST_FILE_BYTES} to {MOST_FILE_BYTES} bytes, or a single file"
        yield Check("files: sizes of features", not odd, saw, wanted, Severity.WARNING)
