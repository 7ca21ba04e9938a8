"""Measure what the second step leaves to the Airflow worker (docs/measurements/speed.md).

    PYTHONPATH=.:spark_apps python -m benchmarks.validation_step --images 1000000

The benchmark writes a run of `IMAGES` images as `benchmarks.validation` does, measures its files as one core of a
cluster does, and prints the time. Then it makes the run larger: files of `features/` are linked under further names,
other keys are added to `inventory/`, and the figures are added. A subprocess judges these figures, and reads the
report's sample.
"""

import os
import time
from collections import Counter
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from benchmarks import subprocess_measure
from benchmarks.validation import ARGUMENTS, LAYOUT, make
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Recogniser
from include.report.rows import Rows
from include.report.sample import sampled, shares
from include.run_files import RunFiles, Table
from include.validation import cluster_figures
from include.validation.audit import Audit, table
from include.validation.figures import Figures, from_bytes
from include.validation.measure import Subject

IMAGES = 30_000
"""Images whose files are written; two files of usual size."""


def run_files(folder: Path) -> RunFiles:
    """Return the tables of the run."""
    return RunFiles(LAYOUT, SubTreeFileSystem(str(folder), LocalFileSystem()))


def path(folder: Path, uri: str) -> Path:
    """Return the path of a URI of the run."""
    return folder / uri.removeprefix("s3://")


def write(folder: Path, images: int) -> None:
    """Write a run of about `images` images, and the figures that a cluster computes."""
    make(folder, IMAGES)
    copies = max(1, images // IMAGES)
    projection = Projection.from_bytes(path(folder, LAYOUT.portable_projection).read_bytes())
    recogniser = Recogniser.from_bytes(path(folder, LAYOUT.portable_recogniser).read_bytes())
    subject = Subject(run_files(folder), ARGUMENTS, projection, recogniser, with_sample=False)
    began = time.process_time()
    figures = subject.measure()
    print(f"One core measures {IMAGES / (time.process_time() - began):,.0f} rows per second.")
    recogniser = replace(recogniser, images=tuple(copies * count for count in recogniser.images))
    path(folder, LAYOUT.portable_recogniser).write_bytes(recogniser.to_bytes())
    linked = [figures] + [link(folder, figures, number) for number in range(1, copies)]
    total = reduce(Figures.merge, linked)
    subject = replace(subject, files=run_files(folder), recogniser=recogniser)
    place = path(folder, LAYOUT.validation_figures)
    place.parent.mkdir()
    place.write_bytes(total.to_bytes(cluster_figures.about(subject)))
    write_sample(folder, total)


def link(folder: Path, figures: Figures, number: int) -> Figures:
    """Link the files of `features/` under other names, write an inventory of as many keys, and return the figures."""
    renamed = {}
    for file in sorted(path(folder, LAYOUT.features).glob("part-?????.parquet")):
        renamed[file.name] = f"copy-{number:05}-{file.name}"
        os.link(file, file.with_name(renamed[file.name]))
    inventory = path(folder, LAYOUT.inventory)
    rows = pq.read_table(inventory / "part-00000.parquet")
    keys = pc.binary_join_element_wise(f"other/{number:05}/", rows["key"], "")
    pq.write_table(rows.set_column(0, rows.schema.field("key"), keys), inventory / f"copy-{number:05}.parquet")
    files = {renamed[name]: digest for name, digest in figures.files.items()}
    return replace(figures, files=files, errors=Counter())


def write_sample(folder: Path, total: Figures) -> None:
    """Write the sample of the report. A linked file has one sample, as if its images were others."""
    files, k = run_files(folder), len(total.vectors.moments.mean) if total.vectors.moments else 0
    place = path(folder, LAYOUT.report_sample)
    place.mkdir()
    for name in files.features.sizes:
        if rows := list(sampled(files.features, shares(total.images, k), [name])):  # type: ignore[arg-type]
            pq.write_table(pa.Table.from_batches(rows).drop_columns("draw"), place / name)


def judge(folder: Path) -> None:
    """Judge the figures, read the report's sample, and print time and memory."""
    files = run_files(folder)
    stored, fitted, measured = (
        path(folder, uri).read_bytes()
        for uri in (LAYOUT.portable_projection, LAYOUT.portable_recogniser, LAYOUT.validation_figures)
    )
    audit = Audit(files, ARGUMENTS, fetch=lambda _key, _etag: None, recogniser=fitted, measured=measured)
    began, before = time.perf_counter(), time.process_time()
    report = audit.validate(stored)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - before
    peak = subprocess_measure.peak_mb()
    if report.failed:
        raise SystemExit(table(report.failed))
    images, _ = from_bytes(measured)
    began = time.perf_counter()
    rows = Rows.read(Table(LAYOUT.report_sample, files.filesystem), images.images, 128)  # type: ignore[arg-type]
    read_s = time.perf_counter() - began
    print("| rows | files | figures MB | seconds | CPU seconds | peak MB | rows of the report | seconds |")
    print("|" + "---|" * 8)
    print(
        f"| {report.counts['features']} | {len(files.features.sizes)} | {len(measured) / 2**20:.1f} | {wall_s:.1f} | "
        f"{cpu_s:.1f} | {peak:.0f} | {len(rows)} | {read_s:.1f} |"
    )


if __name__ == "__main__":
    subprocess_measure.run("benchmarks.validation_step", "images", 1_000_000, write, judge)
