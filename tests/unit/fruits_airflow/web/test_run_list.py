"""Many viewers of the list of runs cost S3 no more requests than one."""

from __future__ import annotations

import io
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier, Lock
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fruits_airflow.web.run_list import MAX_AGE_S, MAX_RUNS, RunList
from fruits_features.contract.layout import DatasetLayout, split

DATASET = DatasetLayout("b")
RUNS, VIEWERS, PAGE = 2000, 40, 1000
RECORD = {
    "dag": {"dag_id": "fruits_features"},
    "counts": {"features": 1, "quarantine": 0},
    "categories": {"Limes": 1},
    "projection": {"components": 1, "explained_variance": 0.9},
}


class Bucket:
    """An S3 hook of a bucket in memory, which counts requests."""

    def __init__(self, runs: int) -> None:
        self.conn, self.objects, self.requests = self, dict[str, bytes](), Counter[str]()
        self._lock = Lock()
        for number in range(runs):
            self.publish(number)

    def publish(self, number: int) -> None:
        """Publish a run, whose predecessor moves to the history."""
        if before := self.objects.get(split(DATASET.latest)[1]):
            pointer = json.loads(before)
            self.objects[split(DATASET.publication(pointer["published_at"], pointer["run"]))[1]] = before
        run, time = f"r{number}", (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)).isoformat()
        record = DATASET.run(run).record
        self.objects[split(record)[1]] = json.dumps({**RECORD, "run": run}).encode()
        pointer = {"run": run, "published_at": time, "paths": {"run": record}}
        self.objects[split(DATASET.latest)[1]] = json.dumps(pointer).encode()

    def _count(self, what: str, times: int = 1) -> None:
        with self._lock:
            self.requests[what] += times

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        assert bucket == "b"
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        self._count("list", -(-len(keys) // PAGE))
        return keys

    def list_prefixes(self, bucket: str, prefix: str, delimiter: str) -> list[str]:
        assert (bucket, prefix, delimiter) == ("b", "features/datasets/", "/")
        self._count("list")
        return []

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert Bucket == "b"
        self._count("get")
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        body = self.objects[Key]
        return {"Body": io.BytesIO(body), "ContentLength": len(body), "ETag": '"e"'}

    def __call__(self) -> Any:  # noqa: ANN401 - in place of S3Hook
        return self


def _view(runs: RunList, s3: Bucket, viewers: int) -> list[list[str]]:
    """Return the runs that concurrent viewers see."""
    start = Barrier(viewers)

    def view(_: int) -> list[str]:
        start.wait()
        return [record["run"] for record in runs.read(s3).records]

    with ThreadPoolExecutor(viewers) as pool:
        return list(pool.map(view, range(viewers)))


def test_forty_viewers_of_two_thousand_runs_cost_the_requests_of_one() -> None:
    s3, now = Bucket(RUNS), [0.0]
    runs = RunList(DATASET, clock=lambda: now[0])
    newest = [f"r{number}" for number in range(RUNS - 1, RUNS - 1 - MAX_RUNS, -1)]

    assert _view(runs, s3, VIEWERS) == [newest] * VIEWERS
    assert s3.requests == {"list": RUNS // PAGE + 1, "get": 1 + MAX_RUNS}

    now[0] = MAX_AGE_S - 1
    assert _view(runs, s3, VIEWERS) == [newest] * VIEWERS
    assert s3.requests.total() == RUNS // PAGE + 2 + MAX_RUNS


def test_list_that_is_too_old_reads_only_what_is_new() -> None:
    s3, now = Bucket(150), [0.0]
    runs = RunList(DATASET, clock=lambda: now[0])
    _view(runs, s3, 1)
    s3.publish(150)
    s3.requests.clear()

    now[0] = MAX_AGE_S
    (seen,) = _view(runs, s3, 1)

    assert (seen[:2], len(seen)) == (["r150", "r149"], MAX_RUNS)
    assert s3.requests == {"list": 2, "get": 2}
    assert runs.read(s3).published == "r150"


def test_deleted_runs_leave_the_list() -> None:
    s3, now = Bucket(5), [0.0]
    runs = RunList(DATASET, clock=lambda: now[0])
    _view(runs, s3, 1)
    for key in [key for key in s3.objects if "r2" in key]:
        del s3.objects[key]

    now[0] = MAX_AGE_S

    assert _view(runs, s3, 1) == [["r4", "r3", "r1", "r0"]]


def test_error_is_not_kept() -> None:
    s3, runs = Bucket(2), RunList(DATASET)
    missing = ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")

    def refuse() -> Any:  # noqa: ANN401
        raise missing

    with pytest.raises(ClientError):
        runs.read(refuse)

    assert _view(runs, s3, 1) == [["r1", "r0"]]
