"""A run that would repeat the published one is skipped, unless it is forced or something has changed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from fruits_airflow import new_images
from fruits_airflow.tasks import find_changes
from fruits_features.contract.layout import DatasetLayout

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")

PARAMS = {
    "refit": "auto",
    "features": ["orb", "onnx"],
    "k": None,
    "explained_variance": 0.9,
    "include_pixels": False,
    "max_quarantine_share": 0.05,
    "force": False,
}


RECORD = {
    "run": "r1",
    "dag": {"dag_id": "fruits"},
    "counts": {"features": 3, "quarantine": 0},
    "categories": {"Limes": 3},
    "projection": {"components": 2, "explained_variance": 0.9},
}


class Run:
    """A DAG run at the task, in a separate bucket."""

    def __init__(self, s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s3, self.bucket, self.xcoms = s3, bucket, {}
        self.dataset = DatasetLayout(bucket)
        self.digest, self.model = "d", f"s3://{bucket}/net.onnx"
        self.put("net.onnx", b"model")
        self.type, self.id, self.conf = "scheduled", "backfill__2026-03-02", {"bucket": "b"}
        self.running: list[str] = []
        self.counts: list[str] = []
        self.earlier: SimpleNamespace | None = None  # the running run of an earlier date
        self._monkeypatch = monkeypatch

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def xcom_pull(self, task_ids: str) -> dict[str, str]:
        uri = self.dataset.run("r2").prefix
        place = {
            "bucket": self.bucket,
            "dataset": self.dataset.name,
            "region": "eu-west-1",
            "uri": uri,
            "prefix": "images/",
        }
        taken = {"name": "r2", **place, "digest": self.digest, "fitted": 4}
        uploaded = {role: f"s3://a/{role}" for role in ("application", "launcher", "bootstrap", "wheelhouse")}
        return {"take_inventory": taken, "upload_application": uploaded}[task_ids]

    def xcom_push(self, key: str, value: str) -> None:
        self.xcoms[key] = value

    def get_previous_dagrun(self, state: str) -> SimpleNamespace | None:
        assert state == "running"
        return self.earlier

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert (dag_id, states) == ("fruits", ["running"])
        return len(set(run_ids) & set(self.running))

    def find_changes(self, *, for_emr: bool = True, **params: object) -> dict[str, Any]:
        dag_run = SimpleNamespace(run_type=self.type, dag_id="fruits", run_id=self.id, conf=self.conf)
        context = {"ti": self, "params": PARAMS | {"onnx_model": self.model} | params, "dag_run": dag_run}
        self._monkeypatch.setattr(find_changes, "get_current_context", lambda: context)
        fingerprint: dict[str, Any] = find_changes.find_changes.function(for_emr=for_emr)
        return fingerprint

    def publish(self, fingerprint: dict[str, Any]) -> None:
        record = DatasetLayout(self.bucket).run("r1").record
        pointer = {
            "run": "r1",
            "published_at": "2026-11-22T08:00:00+00:00",
            "paths": {"run": record, "projection": "s3://p.npz"},
        }
        self.put("features/runs/r1/run.json", json.dumps({**RECORD, "recipe": fingerprint}).encode())
        self.put("features/latest.json", json.dumps(pointer).encode())


@pytest.fixture
def run(local_aws: LocalAws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    run = Run(local_aws.s3(), bucket, monkeypatch)
    monkeypatch.setattr(new_images, "count", lambda *_: run.counts.append(run.id))  # test_new_images.py
    return run


@pytest.fixture
def repeated(run: Run) -> Run:
    """A run whose fingerprint is already published."""
    run.publish(run.find_changes())
    return run


def test_run_that_repeats_the_published_one_is_skipped_and_names_it(repeated: Run) -> None:
    with pytest.raises(AirflowSkipException, match=r"Nothing has changed since run r1 of 2026-11-22T08:00:00\+00:00"):
        repeated.find_changes()

    assert repeated.xcoms == {"stays_published": "r1"}


def test_new_images_are_counted_for_a_cluster_that_is_created_only(run: Run) -> None:
    run.publish(run.find_changes(for_emr=False))
    assert run.counts == []

    with pytest.raises(AirflowSkipException):
        run.find_changes()
    assert run.counts == []
    run.find_changes(force=True)
    assert run.counts == [run.id]


def test_forced_run_continues(repeated: Run) -> None:
    assert repeated.find_changes(force=True)["images"] == "d"


def test_changed_images_continue(repeated: Run) -> None:
    repeated.digest = "e"

    assert repeated.find_changes()["images"] == "e"


def test_changed_parameter_continues(repeated: Run) -> None:
    assert repeated.find_changes(k=2)["parameter k"] == 2


def test_more_components_than_the_images_have_fail_at_once(run: Run) -> None:
    assert run.find_changes(k=3)["parameter k"] == 3
    with pytest.raises(AirflowFailException, match=r"`k` is 4, but .* fitted on 4 images, which have at most 3 comp"):
        run.find_changes(k=4)


def test_kept_projection_has_its_components_whatever_the_images(repeated: Run) -> None:
    assert repeated.find_changes(k=4, refit="never")["parameter k"] == 4
    with pytest.raises(AirflowFailException, match="`k` is 4"):
        repeated.find_changes(k=4, refit="auto")


def test_model_replaced_under_the_same_uri_continues(repeated: Run) -> None:
    repeated.put("net.onnx", b"another model")

    assert repeated.find_changes()["model"]


def test_model_that_cannot_be_read_continues(run: Run) -> None:
    run.model = "/opt/net.onnx"
    run.publish(run.find_changes() | {"model": "unknown to r1"})

    assert run.find_changes()["model"] == "unknown to r2"


def test_record_without_a_fingerprint_continues(repeated: Run) -> None:
    repeated.put("features/runs/r1/run.json", json.dumps(RECORD).encode())

    assert repeated.find_changes()["images"] == "d"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1]", json.dumps({**RECORD, "recipe": []}).encode(), None])
def test_damaged_or_missing_record_counts_as_a_change(
    repeated: Run, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    if content is None:
        repeated.s3.delete_object(Bucket=repeated.bucket, Key="features/runs/r1/run.json")
    else:
        repeated.put("features/runs/r1/run.json", content)

    assert repeated.find_changes()["images"] == "d"
    assert "features/runs/r1/run.json" in caplog.text


def test_record_with_another_checksum_than_the_pointer_names_counts_as_a_change(repeated: Run) -> None:
    pointer = json.loads(repeated.s3.get_object(Bucket=repeated.bucket, Key="features/latest.json")["Body"].read())
    pointer["checksums"] = {"run.json": "sha256:0"}
    repeated.put("features/latest.json", json.dumps(pointer).encode())

    assert repeated.find_changes()["images"] == "d"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no JSON",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"run": "r1", "published_at": "yesterday", "paths": {"run": "s3://"}}',
        b'{"run": "r1", "published_at": "2026-11-22T08:00:00+00:00", "paths": {}}',
        b'{"run": 1, "published_at": "2026-11-22T08:00:00+00:00", "paths": {"run": "s3://"}}',
        b'{"format": 2, "run": "r1", "published_at": "2026-11-22T08:00:00+00:00", "paths": {"run": "s3://"}}',
    ],
)
def test_damaged_pointer_fails_with_its_name_and_the_fix(run: Run, content: bytes) -> None:
    run.put("features/latest.json", content)

    with pytest.raises(AirflowFailException) as failure:
        run.find_changes()

    uri = f"s3://{run.bucket}/features/latest.json"
    assert re.fullmatch(
        rf"{uri} is damaged \(.*\): restore an earlier version of this object, .*\.", str(failure.value)
    )


@pytest.mark.parametrize("field", ["published_at", "taken_at"])
def test_publication_in_the_future_fails_with_its_time(repeated: Run, field: str) -> None:
    soon, later = (datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (25, 40))
    for time in (soon, later):
        pointer = {
            "run": "r1",
            "published_at": time.isoformat() if field == "published_at" else "2026-11-22T08:00:00+00:00",
            "inventory": {"taken_at": time.isoformat()},
            "paths": {"run": DatasetLayout(repeated.bucket).run("r1").record},
        }
        repeated.put("features/latest.json", json.dumps(pointer).encode())
        if time == soon:
            with pytest.raises(AirflowSkipException):
                repeated.find_changes()
    with pytest.raises(AirflowFailException, match=rf"features/latest\.json has the .*{field} .* in the future \(now "):
        repeated.find_changes()


@pytest.mark.parametrize("lock", [b"\xff", b"[]", b'{"run_id": 3}'])
def test_damaged_lock_of_a_backfill_is_taken_again(run: Run, lock: bytes) -> None:
    run.type = "backfill"
    run.find_changes()
    (key,) = [one["Key"] for one in run.s3.list_objects_v2(Bucket=run.bucket, Prefix="features/backfills/")["Contents"]]
    run.put(key, lock)

    assert run.find_changes()["images"] == "d"
    assert json.loads(run.s3.get_object(Bucket=run.bucket, Key=key)["Body"].read())["run_id"] == run.id


def test_backfill_run_is_skipped_while_an_earlier_date_runs(run: Run) -> None:
    run.type = "backfill"
    run.earlier = SimpleNamespace(run_id="backfill__2026-03-01", run_type="backfill", conf={"bucket": "b"})

    with pytest.raises(AirflowSkipException, match="Run backfill__2026-03-01 of this backfill is running"):
        run.find_changes()


@pytest.mark.parametrize(
    ("kind", "earlier"),
    [
        ("backfill", None),
        ("backfill", ("scheduled", {"bucket": "b"})),
        ("backfill", ("backfill", {"bucket": "another"})),
        ("scheduled", ("backfill", {"bucket": "b"})),
    ],
    ids=["earliest", "beside-a-scheduled-run", "beside-another-backfill", "no-backfill"],
)
def test_other_runs_continue(run: Run, kind: str, earlier: tuple[str, dict[str, str]] | None) -> None:
    run.type = kind
    run.earlier = earlier and SimpleNamespace(run_id="r", run_type=earlier[0], conf=earlier[1])

    assert run.find_changes()["images"] == "d"


def test_reverse_backfill_run_is_skipped_while_a_later_date_runs(run: Run) -> None:
    run.type = "backfill"
    run.find_changes()
    run.running, run.id = [run.id], "backfill__2026-03-01"

    with pytest.raises(AirflowSkipException, match="Run backfill__2026-03-02 of this backfill is running"):
        run.find_changes()


def test_backfill_run_continues_after_the_lock_holder_has_ended(run: Run) -> None:
    run.type = "backfill"
    run.find_changes()
    run.id = "backfill__2026-03-01"

    assert run.find_changes()["images"] == "d"


def test_retried_backfill_run_keeps_the_lock(run: Run) -> None:
    run.type, run.running = "backfill", [run.id]
    run.find_changes()

    assert run.find_changes()["images"] == "d"


def test_retried_backfill_run_keeps_the_lock_beside_an_earlier_date(run: Run) -> None:
    run.type, run.running = "backfill", [run.id, "backfill__2026-03-01"]
    run.find_changes()
    run.earlier = SimpleNamespace(run_id="backfill__2026-03-01", run_type="backfill", conf={"bucket": "b"})

    assert run.find_changes()["images"] == "d"


def test_run_of_another_data_set_is_compared_with_its_own_pointer(repeated: Run) -> None:
    repeated.dataset = DatasetLayout(repeated.bucket, "citrus")

    assert repeated.find_changes()["images"] == "d"


def test_backfills_of_two_data_sets_run_concurrently(run: Run) -> None:
    run.type, run.running = "backfill", [run.id]
    run.find_changes()
    run.id, run.dataset = "backfill__2026-03-01", DatasetLayout(run.bucket, "citrus")

    assert run.find_changes()["images"] == "d"


def test_backfill_with_other_parameters_runs_concurrently(run: Run) -> None:
    run.type, run.running = "backfill", [run.id]
    run.find_changes()
    run.id, run.conf = "backfill__2026-03-01", {"bucket": "b", "k": "3"}

    assert run.find_changes()["images"] == "d"

    run.running, run.id, run.conf = [*run.running, run.id], "backfill__2026-02-28", {"bucket": "b"}
    with pytest.raises(AirflowSkipException, match="Run backfill__2026-03-02 of this backfill is running"):
        run.find_changes()
