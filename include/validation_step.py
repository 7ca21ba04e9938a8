"""Second step of a large run: Spark's workers read the rows for the validation and for the report.

    spark-submit --py-files <application>,<validation> validate.py <arguments of the application> \
        [--published-projection URI --published-recogniser URI]

It writes figures, counts and a sample to the run's folder `validation/`. Airflow judges the figures
(`include.validation.cluster_figures`). Log, errors and exit codes are those of the application.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import add
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features import __main__ as application
from fruits_features.contract.layout import RunLayout
from fruits_features.io import object_store
from fruits_features.io.s3_access import open_filesystem
from fruits_features.job.distribute import SparkRunner
from fruits_features.job.spark_context import running_context
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Recogniser
from include.report.sample import Totals, sampled, shares
from include.run_files import RunFiles
from include.validation import cluster_figures, recogniser_checks
from include.validation.measure import Subject
from include.validation.recogniser_drop import PairedRecognition

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from fruits_features.contract.arguments import Arguments
    from include.report.sample import Labels
    from include.validation.figures import Figures


def main(argv: Sequence[str] | None = None) -> int:
    """Measure a run, and return the exit code.

    Args:
        argv: Command line arguments; those of the process if `None`.
    """
    parser = argparse.ArgumentParser(prog="validate", add_help=False, allow_abbrev=False)
    parser.add_argument("--published-projection")
    parser.add_argument("--published-recogniser")
    options, arguments = parser.parse_known_args(argv)
    return application.main(arguments, partial(_run, published=options))


def _run(arguments: Arguments, published: argparse.Namespace) -> str:
    if arguments.region:
        os.environ["AWS_REGION"] = arguments.region
    layout = RunLayout(arguments.output)
    object_store.remove_folder(layout.validation)
    with running_context(arguments.run, arguments.region, arguments.max_image_pixels) as context:
        runner = SparkRunner(context)
        subject = _subject(arguments, layout, published)
        figures = subject.measure(runner.reduce)
        totals, sample = _prepare_report(subject, figures, runner)
    _write(layout.report_totals, json.dumps(totals.as_dict()).encode())
    _write(layout.validation_figures, figures.to_bytes(cluster_figures.about(subject)))
    return f"measured {len(figures.files)} files of features/, and sampled {sample} rows for the report"


def _subject(arguments: Arguments, layout: RunLayout, published: argparse.Namespace) -> Subject:
    """Return the run, with its projection and recogniser, and the published ones if they can be read."""
    projection = Projection.from_bytes(object_store.read(layout.portable_projection))
    recogniser, _ = recogniser_checks.read(_read(layout.portable_recogniser))
    old, before = _read(published.published_projection), _read(published.published_recogniser)
    paired = None
    with suppress(ValueError):  # not readable by this version
        paired = PairedRecognition.of(
            recogniser,
            projection,
            Recogniser.from_bytes(before) if before else None,
            Projection.from_bytes(old) if old else None,
        )
    files = RunFiles(layout, open_filesystem(arguments.bucket))
    return Subject(files, arguments, projection, recogniser, paired, with_sample=False)


def _prepare_report(subject: Subject, figures: Figures, runner: SparkRunner) -> tuple[Totals, int]:
    """Count the quarantine and sample `features/`, if its files can be read. Return counts and number of rows."""
    if figures.unreadable or not figures.files:
        return Totals(), 0
    count = partial(Totals.of_quarantine, subject.files.quarantine)
    rejected = runner.reduce("count the quarantine", count, Totals.merge, list(subject.files.quarantine.sizes))
    images = cast("Counter[Labels]", figures.images)
    write = _SampleWriter(subject.files, shares(images, subject.projection.k))
    return replace(rejected, images=images), runner.reduce("sample features", write, add, list(figures.files))


@dataclass(frozen=True)
class _SampleWriter:
    """Writes the sampled rows of a file of `features/` as a file of the same name.

    Args:
        files: Tables of the run.
        shares: Share of the rows by split and category.
    """

    files: RunFiles
    shares: Mapping[Labels, float]

    def __call__(self, name: str) -> int:
        """Write the sample of a file, and return its number of rows."""
        batches = [batch for batch in sampled(self.files.features, self.shares, [name]) if batch.num_rows]
        if not batches:
            return 0
        rows = pa.Table.from_batches(batches).drop_columns("draw")
        with object_store.writing(self.files.layout.report_sample, name) as sink:
            pq.write_table(rows, sink, compression="zstd", write_page_checksum=True)
        return int(rows.num_rows)


def _read(uri: str | None) -> bytes | None:
    """Return the content of an object; `None` if there is none."""
    with suppress(FileNotFoundError):
        return object_store.read(uri) if uri else None
    return None


def _write(uri: str, data: bytes) -> None:
    folder, _, name = uri.rpartition("/")
    object_store.write_bytes(folder, name, data)
