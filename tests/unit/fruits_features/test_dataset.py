"""Published runs by name and by time, and errors for runs that do not exist."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest

from fruits_features import dataset
from fruits_features.contract import layout

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")

RUNS = {"a": "2026-11-20T08:00:00+00:00", "Z-a": "2026-11-21T08:00:00+00:00", "c": "2026-11-22T08:00:00+00:00"}


@pytest.fixture
def orchard(local_aws: LocalAws, bucket: str) -> str:
    """A bucket with three published runs, each with one row that contains its name."""
    for run, published_at in RUNS.items():
        features = layout.RunLayout.of(bucket, run).features
        content = json.dumps({"run": run, "published_at": published_at, "paths": {"features": features}}).encode()
        rows = io.BytesIO()
        pl.DataFrame({"run": [run]}).write_parquet(rows)
        pointer = layout.latest(bucket) if run == "c" else layout.publication(bucket, published_at, run)
        for uri, body in ((pointer, content), (f"{features}/part-00000.parquet", rows.getvalue())):
            local_aws.s3().put_object(Bucket=bucket, Key=uri.removeprefix(f"s3://{bucket}/"), Body=body)
    return f"s3://{bucket}"


@pytest.mark.parametrize("run", RUNS)
def test_run_is_opened_by_its_name(orchard: str, run: str) -> None:
    assert dataset.open(orchard, run=run).collect()["run"].to_list() == [run]


@pytest.mark.parametrize(
    ("as_of", "run"),
    [
        ("2026-11-20", "a"),
        ("2026-11-20T08:00:00", "a"),
        ("2026-11-21T07:59:59", "a"),
        ("2026-11-21T09:00:00+01:00", "Z-a"),
        (date(2026, 11, 21), "Z-a"),
        (datetime(2026, 11, 22, 7, 59, tzinfo=UTC), "Z-a"),
        (datetime(2026, 11, 22, 8, 0, 0, 500, tzinfo=UTC), "c"),
        ("2027-01-01", "c"),
    ],
)
def test_run_of_time_is_the_one_published_then(orchard: str, as_of: str | date, run: str) -> None:
    assert dataset.published(orchard, as_of=as_of)["run"] == run


def test_time_before_all_runs_names_the_published_ones(orchard: str) -> None:
    with pytest.raises(
        dataset.NothingPublishedError, match=r"a run published by 2026-11-19T23.*newest first: c, Z-a, a\."
    ):
        dataset.open(orchard, as_of="2026-11-19")


def test_unknown_run_names_the_published_ones(orchard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_MAX_NAMES", 2)

    with pytest.raises(dataset.NothingPublishedError, match=r"does not contain the run 'b'.*: c, Z-a and 1 more\."):
        dataset.open(orchard, run="b")


def test_run_and_time_exclude_each_other(orchard: str) -> None:
    with pytest.raises(ValueError, match="run='a' and as_of='2026-11-20' exclude each other"):
        dataset.open(orchard, run="a", as_of="2026-11-20")
