"""Folders of objects in a bucket with faults. All other tests use folders on a disk."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from obstore.exceptions import GenericError

from fruits_features import projection, publications
from fruits_features.client.published_run import PublishedRun
from fruits_features.extraction.families.onnx import ModelError, Weights
from fruits_features.io import object_store, retry, s3_access
from fruits_features.io.object_store import FILE_RETRIES, READER_RETRIES
from fruits_features.io.retry import RetryPolicy
from fruits_features.io.uri import read_published
from fruits_features.recogniser import model
from include.dev.local_aws.s3.fault_proxy import Fault
from tests.unit.fruits_features.conftest import FaultRule, FaultyBucket

SILENT = {Fault.SILENCE, Fault.SILENCE_IN_BODY}
"""Left out: they last as long as the read timeout, and rclone locks an object whose PUT was aborted."""
CONTINUED = {Fault.RESET_IN_BODY, Fault.SHORT_BODY}
"""Left out for reads: obstore requests the rest."""

MakeFaultyBucket = Callable[[FaultRule], FaultyBucket]


SHORT = replace(FILE_RETRIES, budget_s=20.0, first_pause_s=0.001, max_pause_s=0.002)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "FILE_RETRIES", SHORT)  # of writes; reads are given theirs
    monkeypatch.setattr(retry, "_FIRST_PAUSE_S", 0.001)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in {*SILENT, Fault.ARCHIVED}])
def test_folder_whose_every_first_request_fails_is_written_listed_read_and_removed(
    fault: Fault, faulty_bucket: MakeFaultyBucket
) -> None:
    bucket = faulty_bucket(lambda request: fault if request.nth == 1 else None)
    folder = f"s3://{bucket.name}/run/features"

    object_store.write_bytes(folder, "a.parquet", b"0123456789")
    assert object_store.list_files(folder, policy=SHORT) == {"a.parquet": 10}
    assert object_store.read_bytes(folder, "a.parquet", SHORT) == b"0123456789"
    object_store.remove_folder(folder)

    assert not (bucket.folder / "run/features/a.parquet").exists()
    assert {method for method, _ in bucket.proxy.seen} == {"PUT", "GET", "POST"}
    assert bucket.proxy.failed[fault] == len(bucket.proxy.seen)


@pytest.mark.parametrize("fault", [None, Fault.INTERNAL_ERROR, Fault.SLOW_DOWN, Fault.RESET])
def test_object_written_in_parts_is_complete_although_every_first_request_fails(
    fault: Fault | None, faulty_bucket: MakeFaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_PART_BYTES", 5 * 1024 * 1024)
    bucket = faulty_bucket(lambda request: fault if request.nth == 1 else None)
    parts = [bytes([number]) * 3_000_000 for number in range(7)]

    with object_store.writing(f"s3://{bucket.name}/run/features", "a.parquet") as sink:
        for part in parts:
            assert sink.write(part) == len(part)

    assert (bucket.folder / "run/features/a.parquet").read_bytes() == b"".join(parts)
    assert sink.size == 21_000_000
    assert len([True for method, _ in bucket.proxy.seen if method == "PUT"]) > 1


@pytest.mark.parametrize("size", [10, 20_000_000])
def test_object_whose_writer_raises_stays_as_it_was(size: int, faulty_bucket: MakeFaultyBucket) -> None:
    bucket = faulty_bucket(lambda _: None)
    folder = f"s3://{bucket.name}/run/features"
    object_store.write_bytes(folder, "a.parquet", b"before")

    with suppress(ZeroDivisionError), object_store.writing(folder, "a.parquet") as sink:
        sink.write(bytes(size))
        raise ZeroDivisionError

    assert object_store.read_bytes(folder, "a.parquet") == b"before"


def test_folder_whose_requests_all_fail_raises_in_the_end(faulty_bucket: MakeFaultyBucket) -> None:
    bucket = faulty_bucket(lambda _: Fault.SLOW_DOWN)

    with pytest.raises(GenericError, match="503"):
        object_store.list_files(f"s3://{bucket.name}/run", policy=SHORT)


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault not in {*CONTINUED, Fault.ARCHIVED}], ids=lambda fault: fault.name
)
def test_reader_of_a_published_run_gets_a_sentence_within_its_budget(
    fault: Fault, faulty_bucket: MakeFaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = faulty_bucket(lambda request: fault if request.method == "GET" else None)
    uri = f"s3://{bucket.name}/features/latest.json"
    object_store.write_bytes(f"s3://{bucket.name}/features", "latest.json", b"0123456789")
    policy = replace(READER_RETRIES, budget_s=1, read_timeout_s=1)
    monkeypatch.setattr(object_store, "READER_RETRIES", policy)

    with pytest.raises(s3_access.S3AccessError) as failed:
        read_published(uri)

    is_status = isinstance(fault.value, tuple)
    sentence = (
        rf"S3 fails \({fault.value[0][:3]} .*: try again" if is_status else "S3 does not answer: check the network"
    )
    assert re.match(f"{uri} cannot be read: {sentence}", str(failed.value))


READERS: dict[str, Callable[[str], object]] = {
    "the published run": publications.published,
    "an earlier run": lambda bucket: publications.published(bucket, run="earlier"),
    "another data set": lambda bucket: publications.published(bucket, dataset="citrus"),
    "the history": publications.publications,
    "a projection": lambda bucket: projection.load(f"{bucket}/projection.npz"),
    "a model": lambda bucket: Weights(f"{bucket}/model.onnx", "", 1).open(),
    "a recogniser": lambda bucket: model.load(f"{bucket}/recogniser.npz"),
    "a photo": lambda bucket: PublishedRun.open(bucket).read(f"{bucket}/photo.png"),
}


def _recording(function: Callable[..., Any], policies: list[RetryPolicy]) -> Callable[..., Any]:
    """Return the function, which then adds the policies that it is called with to a list."""

    def record(*arguments: Any) -> Any:  # noqa: ANN401
        policies.extend(argument for argument in arguments if isinstance(argument, RetryPolicy))
        return function(*arguments)

    return record


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_all_requests_of_readers_have_the_policy_of_readers(
    read: Callable[[str], object], faulty_bucket: MakeFaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = faulty_bucket(lambda _: None)
    pointer = {"run": "a", "published_at": "2026-11-30T00:00:00+00:00", "paths": {}}
    object_store.write_bytes(f"s3://{bucket.name}/features", "latest.json", json.dumps(pointer).encode())
    policies: list[RetryPolicy] = []
    monkeypatch.setattr(object_store, "open_bucket", _recording(object_store.open_bucket, policies))
    monkeypatch.setattr(object_store, "retry_call", _recording(object_store.retry_call, policies))

    with suppress(FileNotFoundError, ModelError):  # the bucket has the pointer only
        read(f"s3://{bucket.name}")

    assert set(policies) == {READER_RETRIES}


@pytest.mark.parametrize("load", [projection.load, model.load], ids=["projection", "recogniser"])
def test_missing_file_of_a_run_is_named(load: Callable[[str], object], faulty_bucket: MakeFaultyBucket) -> None:
    uri = f"s3://{faulty_bucket(lambda _: None).name}/missing.npz"

    with pytest.raises(FileNotFoundError, match=rf"^\[Errno 2\] There is no such object: '{uri}'$"):
        load(uri)


def test_readers_wait_for_ten_seconds_and_runs_for_minutes(
    faulty_bucket: MakeFaultyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (READER_RETRIES.budget_s, READER_RETRIES.read_timeout_s) == (10, 10)
    assert (FILE_RETRIES.budget_s, FILE_RETRIES.read_timeout_s) == (120, 300)
    monkeypatch.setattr(object_store, "READER_RETRIES", replace(READER_RETRIES, budget_s=0, retries=0))
    bucket = faulty_bucket(lambda request: Fault.SLOW_DOWN if request.method == "GET" and request.nth < 4 else None)
    uri = f"s3://{bucket.name}/features/latest.json"
    object_store.write_bytes(f"s3://{bucket.name}/features", "latest.json", b"0123456789")

    with pytest.raises(s3_access.S3AccessError, match=r"S3 fails \(503 "):
        read_published(uri)
    assert bucket.proxy.failed[Fault.SLOW_DOWN] == 1
    assert object_store.read(uri) == b"0123456789"
