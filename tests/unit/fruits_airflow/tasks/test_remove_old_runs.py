"""Old runs are deleted with their pointers. The published run and recent runs are kept."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from fruits_airflow.tasks import remove_old_runs
from fruits_features.cache.store import CacheSegment
from fruits_features.contract.layout import DatasetLayout
from include.dev.local_aws.s3.server import DIR_CACHE_S
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")


POINTER = {"run": "published", "published_at": "2026-10-20T08:00:00+00:00", "paths": {"run": "s3://fruits/run.json"}}


class Bucket:
    """A bucket with runs that were written some days ago."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.aws, self.name = aws, name

    def put(self, key: str, days: float, content: bytes = b"{}") -> None:
        self.aws.s3().put_object(Bucket=self.name, Key=key, Body=content)
        then = time.time() - 86_400 * days
        os.utime(self.aws.s3_folder / self.name / key, (then, then))

    def add(self, run: str, days: float, *, complete: bool = True) -> None:
        for name in (
            "inventory/part-00000.parquet",
            "features/part-00000.parquet",
            *(["run.json"] if complete else []),
        ):
            self.put(f"features/runs/{run}/{name}", days)
        if complete:
            self.put(f"features/published/2026-11-01T080000Z-{run}.json", days)

    def written(self) -> list[str]:
        listed = self.aws.s3().list_objects_v2(Bucket=self.name).get("Contents", [])
        return sorted(one["Key"] for one in listed)

    def runs(self) -> set[str]:
        return {key.split("/")[2] for key in self.written() if key.startswith("features/runs/")}


def _remove() -> list[str]:
    """Run the task, and return the runs that it deleted."""
    time.sleep(DIR_CACHE_S)  # the server may have listed the files before their times were changed
    deleted: list[str] = remove_old_runs.remove_old_runs.function()
    return deleted


@pytest.fixture
def orchard(local_aws: LocalAws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    orchard = Bucket(local_aws, bucket)
    orchard.add("published", 40)
    orchard.put("features/latest.json", 40, json.dumps(POINTER).encode())
    for run, days in (("oldest", 30), ("older", 20), ("newest", 10)):
        orchard.add(run, days)
    orchard.add("failed", 9, complete=False)
    orchard.add("under-way", 0, complete=False)
    orchard.put("images/Limes/1.jpg", 400)
    monkeypatch.setattr(remove_old_runs, "get_current_context", dict)
    run = {"name": "mine", "bucket": bucket, "region": "eu-west-1"}
    monkeypatch.setattr(remove_old_runs.run_context, "run_of", lambda _: run)
    settings.cache_clear()
    yield orchard
    settings.cache_clear()


def test_nothing_is_deleted_if_the_deployment_keeps_all(orchard: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_RETENTION_DAYS", "0")
    orchard.add("ancient", 1000)
    before = orchard.written()

    assert _remove() == []
    assert orchard.written() == before


def test_runs_of_more_than_90_days_are_deleted_by_default(orchard: Bucket) -> None:
    orchard.add("ancient", 91)
    orchard.add("old", 89)

    assert _remove() == ["ancient"]
    assert "old" in orchard.runs()


def test_old_runs_are_deleted_with_their_pointers_and_nothing_else(
    orchard: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRUITS_RETENTION_DAYS", "7")
    monkeypatch.setenv("FRUITS_RETENTION_RUNS", "1")

    assert _remove() == ["oldest", "older", "failed"]

    assert orchard.runs() == {"published", "newest", "under-way"}
    assert not [key for key in orchard.written() if "oldest" in key or "older" in key]
    assert {"images/Limes/1.jpg", "features/latest.json"} < set(orchard.written())


@pytest.mark.parametrize(
    ("dataset", "deleted"), [("default", ["oldest", "older", "failed"]), ("citrus", ["ancient-citrus"])]
)
def test_only_the_runs_own_data_set_is_cleaned(
    orchard: Bucket, monkeypatch: pytest.MonkeyPatch, dataset: str, deleted: list[str]
) -> None:
    monkeypatch.setenv("FRUITS_RETENTION_DAYS", "7")
    monkeypatch.setenv("FRUITS_RETENTION_RUNS", "1")
    citrus = "features/datasets/citrus"
    orchard.put(f"{citrus}/latest.json", 40, json.dumps({**POINTER, "run": "citrus"}).encode())
    for run, days in (("citrus", 40), ("ancient-citrus", 80), ("newest-citrus", 30)):
        orchard.put(f"{citrus}/runs/{run}/run.json", days)
        orchard.put(f"{citrus}/published/2026-11-01T080000Z-{run}.json", days)
    for folder in ("features", citrus):
        orchard.put(f"{folder}/described/4567/about.json", 8)
    before = orchard.written()
    run = {"name": "mine", "bucket": orchard.name, "dataset": dataset, "region": "eu-west-1"}
    monkeypatch.setattr(remove_old_runs.run_context, "run_of", lambda _: run)

    assert _remove() == deleted

    gone = set(before) - set(orchard.written())
    assert len(gone) > len(deleted)
    assert all(key.startswith(f"{citrus}/") == (dataset == "citrus") for key in gone)
    assert [key for key in gone if key.endswith("/described/4567/about.json")]
    left = orchard.written()
    assert [key for key in left for name in deleted if f"/runs/{name}/" in key or key.endswith(f"Z-{name}.json")] == []


def test_no_run_is_deleted_while_the_pointer_is_damaged(
    orchard: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FRUITS_RETENTION_DAYS", "7")
    orchard.put("features/latest.json", 0, b"{")
    before = orchard.written()

    assert _remove() == []
    assert orchard.written() == before
    assert "No run is deleted, because the published one is unknown" in caplog.text


def test_objects_of_others_are_kept_and_do_not_fail_retention(orchard: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_RETENTION_DAYS", "7")
    others = [
        "features/runs/readme.txt",
        "features/published/readme.txt",
        "features/described/readme.txt",
        "features/described/0123/readme.txt",
    ]
    for key in others:
        orchard.aws.s3().put_object(Bucket=orchard.name, Key=key, Body=b"\xff")
    orchard.put("features/described/0123/about.json", 0)
    orchard.put("features/described/0123/damaged/manifest.json", 30, b"[]")
    orchard.put("features/described/0123/damaged/described-0.parquet", 30)

    assert _remove() == ["failed"]

    left = orchard.written()
    assert not [key for key in left if "/damaged/" in key]
    assert set(others) < set(left)


def test_folder_without_a_name_is_not_a_run(caplog: pytest.LogCaptureFixture) -> None:
    s3 = Mock(list_prefixes=Mock(return_value=["features/runs//"]))

    assert remove_old_runs._runs(s3, DatasetLayout("fruits")) == []  # noqa: SLF001 - the local S3 refuses such keys
    assert "s3://fruits/features/runs// is not a run" in caplog.text


def test_interrupted_deletion_leaves_no_pointer_to_a_partial_run(
    orchard: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRUITS_RETENTION_DAYS", "7")
    monkeypatch.setenv("FRUITS_RETENTION_RUNS", "1")
    delete = S3Hook.delete_objects

    def fail(self: S3Hook, bucket: str, keys: list[str]) -> None:
        if any("/runs/oldest/features/" in key for key in keys):
            raise ConnectionError("half-way")
        delete(self, bucket, keys)

    with monkeypatch.context() as broken:
        broken.setattr(S3Hook, "delete_objects", fail)
        with pytest.raises(ConnectionError):
            _remove()
    remaining = [key for key in orchard.written() if "oldest" in key]
    again = _remove()

    assert remaining == [f"features/runs/oldest/{name}/part-00000.parquet" for name in ("features", "inventory")]
    assert "oldest" in again
    assert "oldest" not in orchard.runs()


def test_orphans_of_the_feature_cache_are_deleted_with_old_runs(
    orchard: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRUITS_RETENTION_DAYS", "7")
    store = "features/described/0123"
    orchard.put(f"{store}/about.json", 0)
    orchard.put(f"{store}/old-1/manifest.json", 30, CacheSegment("old-1", "r", ()).to_bytes())
    orchard.put(f"{store}/old-1/described-0.parquet", 30)
    orchard.put(f"{store}/compacted-1/manifest.json", 8, CacheSegment("compacted-1", "r", (), ("old-1",)).to_bytes())
    orchard.put(f"{store}/crashed-1/described-0.parquet", 8)
    orchard.put(f"{store}/under-way-1/described-0.parquet", 0)
    orchard.put("features/described/4567/about.json", 8)

    _remove()

    left = [key for key in orchard.written() if key.startswith("features/described/")]
    assert left == [
        f"{store}/about.json",
        f"{store}/compacted-1/manifest.json",
        f"{store}/under-way-1/described-0.parquet",
    ]
