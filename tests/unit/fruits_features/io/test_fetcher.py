"""Fetching, from a store in memory and from an S3 server that is in trouble."""

import hashlib
import os
from collections.abc import Callable
from contextlib import closing

import pytest
from obstore import put
from obstore.store import MemoryStore, ObjectStore

from fruits_features.contract.rejections import Reason, Rejected
from fruits_features.io.fetcher import IN_FLIGHT, BucketError, Fetcher, ObjectRef
from fruits_features.io.object_store import open_bucket
from fruits_features.io.retry import CALLS, RetryPolicy
from include.dev.local_aws.s3.fault_proxy import Fault, first
from tests.unit.fruits_features.conftest import FaultRule, Troubled

Troubles = Callable[[FaultRule], Troubled]


def stored(key: str, data: bytes) -> tuple[MemoryStore, ObjectRef]:
    store = MemoryStore()
    etag = put(store, key, data)["e_tag"] or ""
    return store, ObjectRef(key, len(data), etag.strip('"'))


def fetch(store: ObjectStore, wanted: list[ObjectRef], max_bytes: int = 5) -> list[bytes | Rejected]:
    with closing(Fetcher(store, max_bytes)) as fetcher:
        return fetcher.fetch(wanted)


@pytest.mark.parametrize("key", ["images/Lime/a.jpg", "images/Açaí #1/100% a+b.jpg", "images/Apple Golden 2/%20.jpg"])
def test_fetch_of_any_key_gives_its_bytes(key: str) -> None:
    store, wanted = stored(key, b"bytes")

    assert fetch(store, [wanted]) == [b"bytes"]


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
    ],
)
def test_fetch_of_what_is_not_as_inventoried_is_rejected(changes: dict[str, object], reason: Reason) -> None:
    store, wanted = stored("images/a.jpg", b"bytes")

    (outcome,) = fetch(store, [wanted._replace(**changes)])  # type: ignore[arg-type]

    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits_features.io.retry._FIRST_PAUSE_S", 0.001)


HASTE = RetryPolicy(budget_s=20.0, retries=4, first_pause_s=0.001, longest_pause_s=0.002, silence_s=1.0)


def put_photos(bucket: Troubled, count: int) -> list[ObjectRef]:
    """Put objects of a few kilobytes, each another one."""
    photos = {f"{number}.jpg": os.urandom(3000) for number in range(count)}
    for key, data in photos.items():
        (bucket.folder / key).write_bytes(data)
    return [ObjectRef(key, len(data), hashlib.md5(data).hexdigest()) for key, data in photos.items()]  # noqa: S324


def fetch_hastily(bucket: Troubled, wanted: list[ObjectRef]) -> list[bytes | Rejected]:
    return fetch(open_bucket(bucket.name, HASTE), wanted, max_bytes=10**6)


def keep_failing(*keys: str) -> FaultRule:
    return lambda request: Fault.SLOW_DOWN if request.target.rpartition("/")[2] in keys else None


@pytest.mark.parametrize("fault", Fault)
def test_fetch_of_objects_whose_first_two_gets_fail_gives_all_bytes(fault: Fault, troubled: Troubles) -> None:
    bucket = troubled(first(2, fault))
    wanted = put_photos(bucket, 20)

    fetched = fetch_hastily(bucket, wanted)

    assert fetched == [(bucket.folder / one.key).read_bytes() for one in wanted]
    assert bucket.trouble.failed[fault] == 40


def test_fetch_of_an_object_that_alone_keeps_failing_is_rejected(troubled: Troubles) -> None:
    bucket = troubled(keep_failing("7.jpg"))

    fetched = fetch_hastily(bucket, put_photos(bucket, 20))

    rejected = fetched.pop(7)
    assert isinstance(rejected, Rejected)
    tries = (1 + CALLS) * (1 + HASTE.retries)
    assert (rejected.reason, bucket.trouble.failed.total()) == (Reason.UNAVAILABLE, tries)
    assert "503" in rejected.detail
    assert all(isinstance(one, bytes) for one in fetched)


@pytest.mark.parametrize(("keys", "count"), [(("3.jpg", "7.jpg"), 20), (("0.jpg",), 1)])
def test_fetch_where_the_bucket_keeps_failing_raises_instead_of_blaming_images(
    keys: tuple[str, ...], count: int, troubled: Troubles
) -> None:
    bucket = troubled(keep_failing(*keys))

    with pytest.raises(BucketError, match=rf"gave up on {len(keys)} of {count} objects .* 503"):
        fetch_hastily(bucket, put_photos(bucket, count))


def test_fetch_asks_for_no_more_once_the_bucket_has_given_up_on_too_many(troubled: Troubles) -> None:
    bucket = troubled(lambda _: Fault.SLOW_DOWN)
    wanted = put_photos(bucket, 5 * IN_FLIGHT)

    with pytest.raises(BucketError):
        fetch_hastily(bucket, wanted)

    assert len({target for _, target in bucket.trouble.seen}) <= 2 * IN_FLIGHT
