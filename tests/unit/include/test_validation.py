"""A good run passes; each way of breaking it is caught by the check that is meant for it."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from fruits_features import schemas
from fruits_features.layout import RunLayout
from fruits_features.projection import Projection
from include import inventory
from include.validation import Report, RunFiles, validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAYOUT = RunLayout.of("fruits", "r")
PROJECTION = Projection(
    families=("color",),
    mean=np.zeros(4),
    spread=np.ones(4),
    components=np.eye(4)[:, :2],
    explained_variance=np.array([0.6, 0.3]),
)

Rows = list[dict[str, Any]]


def _features() -> Rows:
    return [
        {
            "path": f"s3://fruits/images/Limes/{n}.jpg",
            "split": None,
            "category": "Limes",
            "width": 100,
            "height": 100,
            "keypoints": 0,
            "descriptors": b"",
            "features": [0.0, 1.0, 2.0, float(n)],
            "pca": [1.0, float(n)],
        }
        for n in range(3)
    ]


def _quarantine() -> Rows:
    text = {"stage": "decode", "reason": "not_an_image", "detail": "It begins with b'no i'."}
    return [{"path": "s3://fruits/images/Limes/text.jpg", "size": 8, **text}]


def _inventory() -> bytes:
    keys = [f"images/Limes/{n}.jpg" for n in range(3)] + ["images/Limes/text.jpg"]
    listed = {
        "size": 8,
        "etag": "e",
        "last_modified": datetime(2026, 1, 1, tzinfo=UTC),
        "split": None,
        "category": "Limes",
    }
    file = io.BytesIO()
    inventory.write(({"key": key, **listed} for key in keys), file)
    return file.getvalue()


class Run:
    """A run on disk, to be broken and validated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = RunFiles(LAYOUT, SubTreeFileSystem(str(folder), LocalFileSystem()))
        self.path(LAYOUT.inventory).write_bytes(_inventory())
        self.write_features(_features())
        self.write_quarantine(_quarantine())

    def path(self, folder: str) -> Path:
        path = self.folder / folder.removeprefix("s3://") / "part-00000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_features(self, rows: Rows, schema: pa.Schema | None = None) -> None:
        schema = schema or schemas.arrow_schema(schemas.features_columns(include_pixels=False))
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), self.path(LAYOUT.features))

    def write_quarantine(self, rows: Rows) -> None:
        table = pa.Table.from_pylist(rows, schema=schemas.arrow_schema(schemas.QUARANTINE))
        pq.write_table(table, self.path(LAYOUT.quarantine))

    def validate(self, projection: Projection = PROJECTION) -> Report:
        return validate(self.files, projection)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_good_run_passes_every_check(run: Run) -> None:
    report = run.validate()

    assert report.failed == []
    assert report.counts == {"inventory": 4, "features": 3, "quarantine": 1}
    assert report.projection == {"components": 2, "explained_variance": pytest.approx(0.9)}


def _drop_a_row(run: Run) -> None:
    run.write_features(_features()[1:])


def _repeat_a_row(run: Run) -> None:
    run.write_features([*_features()[1:], _features()[1]])


def _invent_a_row(run: Run) -> None:
    run.write_features([*_features()[1:], {**_features()[0], "path": "s3://fruits/images/Limes/99.jpg"}])


def _put_one_image_in_both_tables(run: Run) -> None:
    run.write_quarantine([*_quarantine(), {**_quarantine()[0], "path": _features()[0]["path"]}])


def _write_nan(run: Run) -> None:
    run.write_features([{**_features()[0], "pca": [1.0, float("nan")]}, *_features()[1:]])


def _write_infinity(run: Run) -> None:
    run.write_features([{**_features()[0], "features": [0.0, 1.0, 2.0, float("inf")]}, *_features()[1:]])


def _shorten_a_vector(run: Run) -> None:
    run.write_features([{**_features()[0], "pca": [1.0]}, *_features()[1:]])


def _change_a_type(run: Run) -> None:
    schema = schemas.arrow_schema(schemas.features_columns(include_pixels=False))
    run.write_features(_features(), schema.set(3, pa.field("width", pa.int64(), nullable=False)))


def _leave_out_a_value(run: Run) -> None:
    schema = schemas.arrow_schema(schemas.features_columns(include_pixels=False))
    run.write_features(
        [{**_features()[0], "category": None}, *_features()[1:]], schema.set(2, pa.field("category", pa.string()))
    )


def _cut_a_file(run: Run) -> None:
    path = run.path(LAYOUT.features)
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("break_it", "check"),
    [
        (_drop_a_row, "inventoried paths that are missing"),
        (_repeat_a_row, "paths that appear twice"),
        (_invent_a_row, "paths that were not inventoried"),
        (_put_one_image_in_both_tables, "paths that appear twice"),
        (_write_nan, "rows whose pca holds a value that is not finite"),
        (_write_infinity, "rows whose features holds a value that is not finite"),
        (_shorten_a_vector, "rows whose pca has not 2 values"),
        (_change_a_type, "columns of features"),
        (_leave_out_a_value, "nulls in required columns of features"),
        (_cut_a_file, "readable"),
    ],
)
def test_broken_run_fails_the_check_meant_for_it(run: Run, break_it: Callable[[Run], None], check: str) -> None:
    break_it(run)

    report = run.validate()

    assert check in [failed.name for failed in report.failed]
    assert check in report.failure()


@pytest.mark.parametrize(
    ("shares", "check"),
    [
        ([0.3, 0.6], "components that explain more than the one before"),
        ([0.9, 0.8], "explained variance"),
        ([0.6, -0.1], "explained variance"),
    ],
)
def test_implausible_projection_fails_its_check(run: Run, shares: list[float], check: str) -> None:
    report = run.validate(replace(PROJECTION, explained_variance=np.array(shares)))

    assert [failed.name for failed in report.failed] == [check]


def test_failure_tells_what_was_seen_and_wanted(run: Run) -> None:
    _drop_a_row(run)

    assert "features + quarantine = inventory: saw 3, wanted 4" in run.validate().failure()
