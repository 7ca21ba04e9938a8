"""A small published run on S3, made in this process without Spark and without a DAG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from fruits_features import projection as portable
from fruits_features.contract import layout, sealed
from fruits_features.contract.layout import DatasetLayout
from tests.support.small_runs import Images, Runs, run_in_process

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

COLOURS = {"Apple": (40, 40, 200), "Lime": (60, 190, 110), "Plum": (130, 50, 110)}
"""Colour of each category, BGR."""
COUNTS = {"Training": 8, "Test": 2}
NAME = "2026-11-29T080000Z-fruits_features"


def photo(category: str, number: int = 1000) -> bytes:
    """Return a PNG of a disc in the category's colour on white. Each number is another picture."""
    random = np.random.default_rng([number, *category.encode()])
    pixels = np.full((48, 48, 3), 255, np.uint8)
    colour = [int(value + random.integers(-12, 12)) for value in COLOURS[category]]
    cv2.circle(pixels, (24, 24), int(random.integers(12, 20)), colour, -1)
    return cv2.imencode(".png", pixels - random.integers(0, 8, pixels.shape, np.uint8))[1].tobytes()


def publish(s3: S3Client, bucket: str, folder: Path, name: str = NAME) -> dict[str, Any]:
    """Publish a run of `COUNTS` images per category, and return its pointer.

    Args:
        s3: Client of S3.
        bucket: Name of the bucket.
        folder: Empty folder for the files of the run.
        name: Name of the run.
    """
    runs = _run(folder, bucket, name)
    pointer = _pointer(runs, bucket, name)
    for path in (file for file in (folder / name).rglob("*") if file.is_file()):
        key = f"{layout.FEATURES_ROOT}/runs/{path.relative_to(folder).as_posix()}"
        s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    for key, stored in runs.images.objects.items():
        s3.put_object(Bucket=bucket, Key=key, Body=stored.data)
    put_pointer(s3, bucket, pointer)
    return pointer


def put_pointer(s3: S3Client, bucket: str, pointer: dict[str, Any], uri: str | None = None) -> None:
    """Write a pointer, by default as `latest.json`."""
    content = json.dumps(sealed.seal(pointer)).encode()
    key = layout.split(uri or layout.DatasetLayout(bucket).latest)[1]
    s3.put_object(Bucket=bucket, Key=key, Body=content)


def _run(folder: Path, bucket: str, name: str) -> Runs:
    """Run the application on the images."""
    runs = Runs(folder, Images())
    for split, count in COUNTS.items():
        for category in COLOURS:
            for number in range(count):
                runs.images.put(f"images/{split}/{category}/{number}.png", photo(category, number))
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch, runs.images)
        runs.run(name, bucket=bucket)
    return runs


def _pointer(runs: Runs, bucket: str, name: str) -> dict[str, Any]:
    """Write a report of a run, and return its pointer."""
    written, published = runs.layout(name), DatasetLayout(bucket).run(name)
    projection = portable.load(written.portable_projection)
    Path(written.report).mkdir()
    Path(written.report_page).write_text("<!doctype html>")
    return {
        "run": name,
        "published_at": "2026-11-29T09:00:00+00:00",
        "inventory": {"categories": len(COLOURS)},
        "counts": {"features": len(COLOURS) * sum(COUNTS.values()), "quarantine": 0},
        "projection": {
            "version": projection.version,
            "components": projection.k,
            "explained_variance": float(projection.explained_variance.sum()),
        },
        "paths": {
            "features": published.features,
            "projection": published.portable_projection,
            "recogniser": published.portable_recogniser,
            "report": published.report_page,
        },
    }
