"""Fetching from a store in memory and from an S3 server with faults."""

import hashlib
import os
from collections.abc import Callable
from contextlib import closing, suppress
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore import put
from obstore.exceptions import NotSupportedError
from obstore.store import MemoryStore, ObjectStore

from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.io.fetcher import MAX_CONCURRENT_REQUESTS, BucketError, FetchedObject, Fetcher, ObjectRef
from fruits_features.io.object_store import open_bucket
from fruits_features.io.retry import MAX_REPETITIONS, RetryPolicy
from include.dev.local_aws.s3.fault_proxy import Fault, first
from tests.support.refusing_s3 import (
    ARCHIVED,
    CUSTOMER_KEY,
    DENIED,
    EXPIRED,
    KEY_DISABLED,
    SKEWED,
    UNKNOWN_KEY,
    Refusal,
    refusing_s3,
)
from tests.unit.fruits_features.conftest import FaultRule, FaultyBucket

MakeFaultyBucket = Callable[[FaultRule], FaultyBucket]


def stored(key: str, data: bytes) -> tuple[MemoryStore, ObjectRef]:
    store = MemoryStore()
    etag = put(store, key, data)["e_tag"] or ""
    return store, ObjectRef(key, len(data), etag.strip('"'))


def fetch(store: ObjectStore, objects: list[ObjectRef], max_bytes: int = 5) -> list[bytes | Rejected]:
    with closing(Fetcher(store, max_bytes)) as fetcher:
        return [one if isinstance(one, Rejected) else one.content for one in fetcher.fetch(objects)]


@pytest.mark.parametrize(
    ("etag", "by_content"), [(hashlib.md5(b"bytes", usedforsecurity=False).hexdigest(), True), ("1-2", False)]
)
def test_fetch_reports_whether_the_etag_is_the_md5_of_the_bytes(etag: str, by_content: bool) -> None:  # noqa: FBT001
    class Store(MemoryStore):
        def get(self, _path: str) -> object:
            return SimpleNamespace(meta={"e_tag": f'"{etag}"'}, bytes=lambda: b"bytes")

    with closing(Fetcher(Store(), 5)) as fetcher:
        assert fetcher.fetch([ObjectRef("a.jpg", 5, etag)]) == [FetchedObject(b"bytes", by_content)]


@pytest.mark.parametrize(
    ("answers", "accepted"),
    [
        ([b"bytes", b"bytes"], True),
        ([b"bytez", b"bytes", b"bytez"], True),
        ([b"bytes", b"bytez", b"bytex"], False),
    ],
)
def test_bytes_with_another_md5_than_the_etag_are_accepted_if_two_answers_are_equal(
    answers: list[bytes],
    accepted: bool,  # noqa: FBT001
) -> None:
    """With SSE-KMS and SSE-C, an ETag looks like an MD5 and is none."""
    etag, remaining = "0" * 32, iter(answers)

    class Store(MemoryStore):
        def get(self, _path: str) -> object:
            return SimpleNamespace(meta={"e_tag": f'"{etag}"'}, bytes=lambda: next(remaining))

    with closing(Fetcher(Store(), 5)) as fetcher:
        (outcome,) = fetcher.fetch([ObjectRef("a.jpg", 5, etag)])

    assert list(remaining) == []
    if accepted:
        assert outcome == FetchedObject(answers[-1], by_content=False)
    else:
        assert isinstance(outcome, Rejected)
        assert outcome.reason == Reason.UNAVAILABLE


@pytest.mark.parametrize("failing", [2, 3])
def test_one_object_of_a_hundred_may_fail(failing: int) -> None:
    class Store(MemoryStore):
        def get(self, path: str) -> object:
            if int(path) < failing:
                raise NotSupportedError(path)
            return SimpleNamespace(meta={"e_tag": '"1-2"'}, bytes=lambda: b"bytes")

    objects = [ObjectRef(f"{number}", 5, "1-2") for number in range(200)]

    if failing > 2:
        with pytest.raises(BucketError, match="3 of 200 objects could not be fetched"):
            fetch(Store(), objects)
        return
    outcomes = fetch(Store(), objects)

    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [True, True, *[False] * 198]


@pytest.mark.parametrize("key", ["images/Lime/a.jpg", "images/Açaí #1/100% a+b.jpg", "images/Apple Golden 2/%20.jpg"])
def test_fetch_of_any_key_returns_its_bytes(key: str) -> None:
    store, ref = stored(key, b"bytes")

    assert fetch(store, [ref]) == [b"bytes"]


KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.text(
    "a/.%+ #?~\\\t\n\x00\x7f\x85\u2028\ufeffé\u0301\U0001f34b", min_size=1, max_size=20
)
"""Keys of S3: 1 to 1,024 bytes of UTF-8. The second alphabet contains what parsers of paths, URLs and XML treat apart.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
"""


@given(KEYS | st.just("é" * 512))
@settings(deadline=None)  # other tests use the machine too
def test_each_key_is_fetched_or_rejected_as_unusable_and_stops_no_other(key: str) -> None:
    store, other = stored("a.jpg", b"other")
    ref = ObjectRef(key, 5, "")
    with suppress(ValueError):  # obstore cannot put a key that it cannot get
        ref = ref._replace(etag=(put(store, key, b"bytes")["e_tag"] or "").strip('"'))

    outcome, fetched = fetch(store, [ref, other])

    assert fetched == b"other" or key == other.key
    if isinstance(outcome, Rejected):
        assert outcome.reason == Reason.UNUSABLE_KEY
        assert not {"", ".", ".."}.isdisjoint(key.split("/")) or any(ord(one) < 32 or one == "\x7f" for one in key)
    else:
        assert outcome == b"bytes"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": "images/gone.jpg"}, Reason.GONE),
        ({"etag": "another"}, Reason.CHANGED),
        ({"size": 4}, Reason.CHANGED),
        ({"size": 6}, Reason.TOO_MANY_BYTES),
        ({"size": 0}, Reason.EMPTY),
        ({"key": "images//a.jpg"}, Reason.UNUSABLE_KEY),
        ({"key": "images/../a.jpg"}, Reason.UNUSABLE_KEY),
        ({"key": "/a.jpg"}, Reason.UNUSABLE_KEY),
        ({"key": "images/a.jpg/"}, Reason.UNUSABLE_KEY),
        ({"key": "images/a\tb.jpg"}, Reason.UNUSABLE_KEY),
        ({"key": "images/a\n"}, Reason.UNUSABLE_KEY),
    ],
)
def test_fetch_of_object_that_differs_from_its_inventory_entry_is_rejected(
    changes: dict[str, object], reason: Reason
) -> None:
    store, ref = stored("images/a.jpg", b"bytes")

    (outcome,) = fetch(store, [ref._replace(**changes)])  # type: ignore[arg-type]

    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits_features.io.retry._FIRST_PAUSE_S", 0.001)


QUICK_RETRIES = RetryPolicy(budget_s=20.0, retries=4, first_pause_s=0.001, max_pause_s=0.002, read_timeout_s=1.0)


def put_photos(bucket: FaultyBucket, count: int) -> list[ObjectRef]:
    """Put objects of a few kilobytes with different contents."""
    photos = {f"{number}.jpg": os.urandom(3000) for number in range(count)}
    for key, data in photos.items():
        (bucket.folder / key).write_bytes(data)
    return [ObjectRef(key, len(data), hashlib.md5(data).hexdigest()) for key, data in photos.items()]  # noqa: S324


def fetch_with_quick_retries(bucket: FaultyBucket, objects: list[ObjectRef]) -> list[bytes | Rejected]:
    return fetch(open_bucket(bucket.name, QUICK_RETRIES), objects, max_bytes=10**6)


def keep_failing(*keys: str) -> FaultRule:
    return lambda request: Fault.SLOW_DOWN if request.target.rpartition("/")[2] in keys else None


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.ARCHIVED])
def test_fetch_of_objects_whose_first_two_gets_fail_returns_all_bytes(
    fault: Fault, faulty_bucket: MakeFaultyBucket
) -> None:
    bucket = faulty_bucket(first(2, fault))
    refs = put_photos(bucket, 20)

    fetched = fetch_with_quick_retries(bucket, refs)

    assert fetched == [(bucket.folder / ref.key).read_bytes() for ref in refs]
    assert bucket.proxy.failed[fault] == 40


def test_fetch_of_single_failing_object_is_rejected(faulty_bucket: MakeFaultyBucket) -> None:
    bucket = faulty_bucket(keep_failing("7.jpg"))

    fetched = fetch_with_quick_retries(bucket, put_photos(bucket, 20))

    rejected = fetched.pop(7)
    assert isinstance(rejected, Rejected)
    tries = (1 + MAX_REPETITIONS) * (1 + QUICK_RETRIES.retries)
    assert (rejected.reason, bucket.proxy.failed.total()) == (Reason.UNAVAILABLE, tries)
    assert "503" in rejected.detail
    assert all(isinstance(result, bytes) for result in fetched)


@pytest.mark.parametrize(("keys", "count"), [(("3.jpg", "7.jpg"), 20), (("0.jpg",), 1)])
def test_fetch_from_failing_bucket_raises_instead_of_rejecting_images(
    keys: tuple[str, ...], count: int, faulty_bucket: MakeFaultyBucket
) -> None:
    bucket = faulty_bucket(keep_failing(*keys))

    with pytest.raises(BucketError, match=rf"^{len(keys)} of {count} objects could not be fetched .* 503"):
        fetch_with_quick_retries(bucket, put_photos(bucket, count))


def test_fetch_stops_requesting_after_too_many_failures(faulty_bucket: MakeFaultyBucket) -> None:
    bucket = faulty_bucket(lambda _: Fault.SLOW_DOWN)
    refs = put_photos(bucket, 5 * MAX_CONCURRENT_REQUESTS)

    with pytest.raises(BucketError):
        fetch_with_quick_retries(bucket, refs)

    assert len({target for _, target in bucket.proxy.seen}) <= 2 * MAX_CONCURRENT_REQUESTS


@pytest.mark.parametrize(
    ("refusal", "beginning"),
    [
        (ARCHIVED, "The object is archived (InvalidObjectState). Restore it"),
        (CUSTOMER_KEY, "The object is encrypted with a key that only its owner has (SSE-C)."),
        (DENIED, "S3 denied access to the object (AccessDenied)."),
        (KEY_DISABLED, "The KMS key that encrypts the object cannot be used (KMS.DisabledException)."),
        (Refusal(403, "AllAccessDisabled", ""), "S3 denied access to the object (AllAccessDisabled)."),
    ],
    ids=lambda value: value.code if isinstance(value, Refusal) else "",
)
@pytest.mark.usefixtures("aws_environment")
def test_each_object_that_s3_refuses_is_rejected_with_the_reason(
    refusal: Refusal, beginning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [ObjectRef(f"images/<Code>SlowDown</Code>/{number}.jpg", 5, "1-2") for number in range(3)]
    with refusing_s3(refusal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        outcomes = fetch(open_bucket("orchard", QUICK_RETRIES), refs)

    for outcome in outcomes:
        assert isinstance(outcome, Rejected)
        assert outcome.reason == Reason.FORBIDDEN
        assert outcome.detail.startswith(beginning)


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (EXPIRED, "the AWS credentials have expired"),
        (SKEWED, "the clock of this machine is wrong"),
        (UNKNOWN_KEY, "AWS does not know the credentials"),
    ],
    ids=lambda value: value.code if isinstance(value, Refusal) else "",
)
@pytest.mark.usefixtures("aws_environment")
def test_refused_credentials_fail_the_task_instead_of_rejecting_images(
    refusal: Refusal, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing_s3(refusal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        with pytest.raises(BucketError, match=f"^3 of 3 objects could not be fetched after all retries: {sentence}"):
            fetch(open_bucket("orchard", QUICK_RETRIES), [ObjectRef(f"{number}.jpg", 5, "1-2") for number in range(3)])
