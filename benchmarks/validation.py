"""Measure time and peak memory of the validation of a large run (docs/measurements/speed.md).

    PYTHONPATH=.:spark_apps python -m benchmarks.validation --images 90380

The benchmark writes a run to disk, with random features and everything else as the application writes it. A subprocess
validates it. There are no images, so that the sample check is not measured. It takes about a millisecond and a request
for each of 48 images.
"""

import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from benchmarks import subprocess_measure
from fruits_features import schemas
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.families import DEFAULT_FAMILIES, total_dimension
from fruits_features.contract.layout import DatasetLayout
from fruits_features.io.vectors import as_array
from fruits_features.output.features_writer import file_metadata, write_parquet
from fruits_features.pca.fit import Moments, fit
from fruits_features.projection import Projection
from fruits_features.recogniser import calibration
from fruits_features.recogniser.fit import ComponentSums, merge_all
from fruits_features.recogniser.model import Recogniser
from fruits_features.recogniser.sample import TrainingImages
from include.inventory import writer
from include.run_files import RunFiles
from include.validation.audit import Audit, table

LAYOUT = DatasetLayout("fruits").run("benchmark")
ROWS_PER_FILE = 15_000
ROWS_PER_TABLE = 5_000
CATEGORIES = 131
KEYPOINTS = 100
COMPONENTS = 128
ARGUMENTS = Arguments(bucket="fruits", inventory=LAYOUT.inventory, output=LAYOUT.prefix, run="benchmark", k=COMPONENTS)


def keys(first: int, last: int) -> list[tuple[str, str]]:
    """Return keys and categories of images, in the order of the features."""
    numbered = ((n, f"Fruit {n * CATEGORIES // 10**6:03}") for n in range(first, last))
    return [(f"images/Training/{category}/{n:06}_100.jpg", category) for n, category in numbered]


def features(rows: int, seed: int) -> NDArray[np.float32]:
    """Return random features whose columns have different variances."""
    random = np.random.default_rng(seed)
    width = total_dimension(DEFAULT_FAMILIES)
    return random.random((rows, width), np.float32) * np.linspace(1, 0.1, width, dtype=np.float32)


def make(folder: Path, images: int) -> None:
    """Write a run of `images` images."""
    parts = [(first, min(images, first + ROWS_PER_TABLE)) for first in range(0, images, ROWS_PER_TABLE)]
    moments = Moments.of(features(parts[0][1], 0))
    for first, last in parts[1:]:
        moments = moments.merge(Moments.of(features(last - first, first)))
    projection = fit(moments, DEFAULT_FAMILIES, k=COMPONENTS, explained_variance=None)
    place = folder / LAYOUT.prefix.removeprefix("s3://")
    for name in ("inventory", "projection", "recogniser"):
        (place / name).mkdir(parents=True)
    (place / "projection" / "projection.npz").write_bytes(projection.to_bytes())
    (place / "recogniser" / "recogniser.npz").write_bytes(recogniser(projection, parts).to_bytes())
    schema = schemas.arrow_schema(schemas.features_columns(include_pixels=False))
    words = file_metadata(ARGUMENTS, projection)
    a_file = ROWS_PER_FILE // ROWS_PER_TABLE
    for number in range(0, len(parts), a_file):
        tables = (rows(projection, schema, *part) for part in parts[number : number + a_file])
        write_parquet(str(place / "features"), f"part-{number:05}.parquet", schema, tables, words)
    write_parquet(
        str(place / "quarantine"),
        "part-00000.parquet",
        schemas.arrow_schema(schemas.QUARANTINE),
        [],
        file_metadata(ARGUMENTS),
    )
    listed = pa.Table.from_pylist(list(listing(images)), schema=writer.SCHEMA)
    pq.write_table(listed, place / "inventory" / "part-00000.parquet")


def recogniser(projection: Projection, parts: Sequence[tuple[int, int]]) -> Recogniser:
    """Return a recogniser fitted on the images of all parts."""
    names = [category for _, category in keys(0, parts[-1][1])]
    categories, code = np.unique(names, return_inverse=True)
    images = TrainingImages.of(len(categories), code.astype(np.int32))
    sums = (
        ComponentSums.of(
            projection.project(features(last - first, first)), images.code[first:last], images.sample[first:last]
        )
        for first, last in parts
    )
    return calibration.fit(merge_all(sums), categories.tolist(), projection.version)


def rows(projection: Projection, schema: pa.Schema, first: int, last: int) -> pa.Table:
    """Return rows of `features/` for some images."""
    count = last - first
    values = features(count, first)
    paths, categories = zip(*keys(first, last), strict=True)
    columns = {
        "path": [f"s3://fruits/{path}" for path in paths],
        "split": ["Training"] * count,
        "category": categories,
        "width": [100] * count,
        "height": [100] * count,
        "keypoints": [KEYPOINTS] * count,
        "descriptors": [os.urandom(32 * KEYPOINTS) for _ in range(count)],
        "features": values,
        "pca": projection.project(values),
    }
    return pa.table([as_array(columns[field.name], field.type) for field in schema], schema=schema)


def listing(images: int) -> Iterator[dict[str, object]]:
    """Yield the rows of the inventory."""
    when = datetime(2026, 1, 1, tzinfo=UTC)
    for key, category in keys(0, images):
        yield {"key": key, "size": 1, "etag": "e", "last_modified": when, "split": "Training", "category": category}


def validate(folder: Path) -> None:
    """Validate the run, and print its time and memory."""
    files = RunFiles(LAYOUT, SubTreeFileSystem(str(folder), LocalFileSystem()))
    stored, fitted = (
        (folder / uri.removeprefix("s3://")).read_bytes()
        for uri in (LAYOUT.portable_projection, LAYOUT.portable_recogniser)
    )
    audit = Audit(files, ARGUMENTS, fetch=lambda _key, _etag: None, recogniser=fitted)
    began, before = time.perf_counter(), time.process_time()
    report = audit.validate(stored)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - before
    peak = subprocess_measure.peak_mb()
    if report.failed:
        raise SystemExit(table(report.failed))
    size = sum(files.features.sizes.values()) / 2**20
    print("| images | MB | checks | seconds | CPU seconds | peak MB |\n|" + "---|" * 6)
    figures = (report.counts["features"], f"{size:.0f}", len(report.checks), f"{wall_s:.1f}", f"{cpu_s:.1f}")
    print(f"| {' | '.join(map(str, figures))} | {peak:.0f} |")


if __name__ == "__main__":
    subprocess_measure.run("benchmarks.validation", "images", 90_380, make, validate)
