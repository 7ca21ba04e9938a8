"""Objects from the bucket: many in flight, a bounded number, and S3's trouble borne within a budget.

The inventory is the truth: an object that is gone or was replaced since comes back as `Rejected`. Trouble is the
bucket's, not the images': errors 500 and 503, resets, silence and bodies that break off are tried again by obstore,
with backoff and jitter, for as long as `RetryPolicy` says; what obstore gives up at once, `retry_call` begins anew. What then
still fails

- alone, while the others of its call came, is `Rejected`: one object that S3 cannot give must not cost the whole run;
- in company is a `BucketError`, which fails the task. Spark tries a task four times in all.

The store itself reads botocore's standard variables (`AWS_ENDPOINT_URL_S3`, `AWS_REGION`, credentials) and the instance
profile.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import ObjectStore

from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.io.retry import RetryPolicy, retry_call

IN_FLIGHT = 64
"""Requests at once, a worker. With 30 ms on every answer, 64 keep nine tenths of the speed, 16 six tenths.

Each waits in a thread of its own: coroutines took 0.33 ms of CPU an object of 5 KB where threads take 0.23."""

ALONE = 100
"""One in so many objects of a call, and always one, may fail alone; where more do, the bucket is in trouble."""


IMAGE_RETRIES = RetryPolicy()
"""With images. A server that is away for half a minute, as S3 is when it splits a busy prefix, costs that much time."""


class BucketError(Exception):
    """The bucket, not an object, fails; the message is the sentence that people read."""


class ObjectRef(NamedTuple):
    """One object as the inventory knows it."""

    key: str
    size: int
    etag: str


class Fetcher:
    """Fetches objects of one bucket; its threads end with `close`.

    Args:
        store: the bucket.
        max_bytes: what is larger by the inventory is rejected without being fetched.
    """

    def __init__(self, store: ObjectStore, max_bytes: int) -> None:
        self._store, self._max_bytes = store, max_bytes
        self._threads = ThreadPoolExecutor(IN_FLIGHT)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def fetch(self, wanted: Sequence[ObjectRef]) -> list[bytes | Rejected]:
        """Fetch objects, in the order asked for.

        Raises:
            BucketError: when more than single objects still fail after every retry.
        """
        failures: list[BaseError] = []
        most = max(1, len(wanted) // ALONE)

        def bounded(one: ObjectRef) -> bytes | Rejected:
            if len(failures) > most:
                return _rejected(Reason.UNAVAILABLE, "The bucket had given up on others before this one was asked for.")
            try:
                return self._fetch_one(one)
            except BaseError as error:
                failures.append(error)
                return _rejected(Reason.UNAVAILABLE, f"Others came, this one kept failing: {_first_line(error)}")

        outcomes = list(self._threads.map(bounded, wanted))
        if len(failures) > most or (failures and not any(isinstance(outcome, bytes) for outcome in outcomes)):
            raise _bucket_error(failures, len(wanted)) from failures[0]
        return outcomes

    def _fetch_one(self, wanted: ObjectRef) -> bytes | Rejected:
        if refusal := refuse(wanted, self._max_bytes):
            return refusal
        try:
            etag, data = retry_call(partial(self._get, wanted.key), IMAGE_RETRIES)
        except FileNotFoundError:
            return _rejected(Reason.GONE, "The inventoried object is no longer in the bucket.")
        except PermissionDeniedError:
            return _rejected(Reason.FORBIDDEN, "The bucket refuses to hand out this object (403).")
        if etag != wanted.etag or len(data) != wanted.size:
            before, now = f"{wanted.size} bytes, etag {wanted.etag}", f"{len(data)} bytes, etag {etag}"
            return _rejected(Reason.CHANGED, f"Inventoried with {before}; now {now}.")
        return data

    def _get(self, key: str) -> tuple[str, bytes]:
        answer = self._store.get(key)
        return (answer.meta["e_tag"] or "").strip('"'), bytes(answer.bytes())


def refuse(wanted: ObjectRef, max_bytes: int) -> Rejected | None:
    """Judge an object by its inventory entry alone.

    >>> refuse(ObjectRef("a.jpg", 0, ""), max_bytes=10).reason
    <Reason.EMPTY: 'empty'>
    """
    if wanted.size == 0:
        return _rejected(Reason.EMPTY, "The object has no bytes.")
    if wanted.size > max_bytes:
        return _rejected(Reason.TOO_MANY_BYTES, f"{wanted.size} bytes are more than the limit of {max_bytes}.")
    if not {"", ".", ".."}.isdisjoint(wanted.key.split("/")):
        return _rejected(Reason.UNUSABLE_KEY, "The key has an empty, '.' or '..' segment, which cannot be asked for.")
    return None


def _rejected(reason: Reason, detail: str) -> Rejected:
    return Rejected(Stage.FETCH, reason, detail)


def _bucket_error(failures: Sequence[BaseError], asked: int) -> BucketError:
    return BucketError(
        f"The bucket gave up on {len(failures)} of {asked} objects asked for together, after every retry; "
        f"see that it can be reached and is not asked too much, and run again. First: {_first_line(failures[0])}"
    )


def _first_line(error: BaseError) -> str:
    """Reduce an error of the store, which goes on with its inner state, to its sentence."""
    return str(error).partition("\n")[0]
