"""Measure time, peak memory and size of the report of a large run (docs/measurements/speed.md).

    PYTHONPATH=.:spark_apps python -m benchmarks.report --images 90380 [--keep report.html]

The benchmark writes a run to disk, with Fruits-360's categories and splits, random components around a mean of each
category, the columns that the report reads, and a few hundred objects in quarantine. A subprocess builds the report.
Fetching takes no time here. From a real bucket, the report reads about 400 images of a few KB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from fruits_features import schemas
from fruits_features.contract.families import DEFAULT_FAMILIES, total_dimension
from fruits_features.contract.layout import DatasetLayout
from fruits_features.contract.rejections import Reason, Stage
from fruits_features.io.vectors import as_array
from fruits_features.pca.fit import Moments, fit
from fruits_features.projection import Projection
from include.dev.sample_images import Image, fruits_360, make_plan
from include.dev.sample_images.drawing import draw
from include.report.build import Inputs, build
from include.run_files import RunFiles

LAYOUT = DatasetLayout("fruits").run("benchmark")
COMPONENTS = 128
ROWS_PER_TABLE = 5_000
QUARANTINED = 400
SCHEMA = pa.schema(
    [
        schemas.arrow_schema(schemas.features_columns(include_pixels=False)).field(name)
        for name in ("path", "split", "category", "pca")
    ]
)
"""Columns of `features/` that the report reads."""
NOISE = 2.0


def make(folder: Path, plan: Sequence[Image]) -> None:
    """Write a run of these images, the last ones in quarantine."""
    run = folder / LAYOUT.prefix.removeprefix("s3://")
    for name in ("inventory", "features", "quarantine"):
        (run / name).mkdir(parents=True)
    extracted, rejected = plan[:-QUARANTINED], plan[-QUARANTINED:]
    means = np.random.default_rng(0).normal(size=(len(fruits_360()), COMPONENTS)).astype(np.float32)
    with pq.ParquetWriter(run / "features" / "part-00000.parquet", SCHEMA, compression="zstd") as writer:
        for start in range(0, len(extracted), ROWS_PER_TABLE):
            writer.write_table(rows(extracted[start : start + ROWS_PER_TABLE], means, start))
    reasons = ((Stage.DECODE, Reason.TRUNCATED), (Stage.FETCH, Reason.EMPTY))
    bad = [
        {"path": path(image), "size": 1, "stage": stage, "reason": reason, "detail": reason.meaning}
        for image, (stage, reason) in zip(rejected, reasons * QUARANTINED, strict=False)
    ]
    quarantine = pa.Table.from_pylist(bad, schema=schemas.arrow_schema(schemas.QUARANTINE))
    pq.write_table(quarantine, run / "quarantine" / "part-00000.parquet")
    pq.write_table(pa.table({"key": [path(image) for image in plan]}), run / "inventory" / "part-00000.parquet")


def path(image: Image) -> str:
    """Return the URI of an image."""
    return f"s3://fruits/images/{image.path}"


def rows(images: Sequence[Image], means: np.ndarray, seed: int) -> pa.Table:
    """Return rows of `features/` for some images."""
    order = {name: number for number, name in enumerate(fruits_360())}
    noise = np.random.default_rng([1, seed]).normal(scale=NOISE, size=(len(images), COMPONENTS))
    weights = 1 / np.sqrt(np.arange(1, COMPONENTS + 1))
    columns = {
        "path": [path(image) for image in images],
        "split": [image.split for image in images],
        "category": [image.category for image in images],
        "pca": ((means[[order[image.category] for image in images]] + noise) * weights).astype(np.float32),
    }
    return features(columns)


def features(columns: Mapping[str, Any]) -> pa.Table:
    """Return a table of the columns of `features/` that the report reads."""
    return pa.table([as_array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def projection() -> Projection:
    """Fit a projection to features that mean nothing."""
    width = total_dimension(DEFAULT_FAMILIES)
    drawn = np.random.default_rng(2).random((2_000, width), np.float32) * np.linspace(1, 0.1, width, dtype=np.float32)
    return fit(Moments.of(drawn), DEFAULT_FAMILIES, k=COMPONENTS, explained_variance=None)


def fetcher(plan: Sequence[Image]) -> Callable[[str], bytes]:
    """Return a function that fetches images by key, with one picture per category."""
    drawn = {category: draw(category, 0, 0) for category in {image.category for image in plan}}

    def fetch(key: str) -> bytes:
        return drawn[key.split("/")[2]]

    return fetch


def report(folder: Path, plan: Sequence[Image], keep: Path | None) -> None:
    """Build the report, and print its time, memory and size."""
    files = RunFiles(LAYOUT, SubTreeFileSystem(str(folder), LocalFileSystem()))
    inputs = partial(Inputs, run="benchmark", files=files, projection=projection(), fetch=fetcher(plan))
    started, before = time.perf_counter(), time.process_time()
    made = build(inputs(validation={"checks": []}))
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if keep:
        keep.write_bytes(made.html)
    page, figures = (f"{len(data) / 2**20:.1f}" for data in (made.html, json.dumps(made.figures).encode()))
    print("| images | seconds | CPU seconds | peak MB | page MB | figures MB |\n|" + "---|" * 7)
    print(f"| {len(plan)} | {wall_s:.1f} | {cpu_s:.1f} | {peak:.0f} | {page} | {figures} |")


def main() -> None:
    """Write a run, and build its report in a subprocess."""
    parser = argparse.ArgumentParser("python -m benchmarks.report", description="Measure the report of a large run.")
    parser.add_argument("--images", type=int, default=90_380, help="images of the run (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="file to which the page is written")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    plan = make_plan(list(fruits_360()), arguments.images)
    if arguments.folder:
        report(arguments.folder, plan, arguments.keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), plan)
        command = [sys.executable, "-m", "benchmarks.report", "--folder", folder, f"--images={arguments.images}"]
        command += [f"--keep={arguments.keep}"] if arguments.keep else []
        subprocess.run(command, check=True)  # noqa: S603 - this module


if __name__ == "__main__":
    main()
