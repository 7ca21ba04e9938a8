"""Objects from the bucket: many in flight, a bounded number, and S3's trouble borne within a budget.

The inventory is the truth: an object that is gone or was replaced since comes back as `Rejected`. Trouble is the
bucket's, not the images': errors 500 and 503, resets, silence and bodies that break off are tried again by obstore,
with backoff and jitter, for as long as `Patience` says; what obstore gives up at once, `afresh` begins anew. What then
still fails

- alone, while the others of its call came, is `Rejected`: one object that S3 cannot give must not cost the whole run;
- in company is a `BucketError`, which fails the task. Spark tries a task four times in all.

The store itself reads botocore's standard variables (`AWS_ENDPOINT_URL_S3`, `AWS_REGION`, credentials) and the instance
profile.
"""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import NamedTuple, TypeVar

from obstore.exceptions import BaseError, GenericError, PermissionDeniedError
from obstore.store import ObjectStore, S3Store

from fruits_features.contract.rejections import Reason, Rejected, Stage

IN_FLIGHT = 64
"""Requests at once, a worker. With 30 ms on every answer, 64 keep nine tenths of the speed, 16 six tenths.

Each waits in a thread of its own: coroutines took 0.33 ms of CPU an object of 5 KB where threads take 0.23."""

ALONE = 100
"""One in so many objects of a call, and always one, may fail alone; where more do, the bucket is in trouble."""


FRESH_STARTS = 3
"""How often a whole call is begun anew within the budget; pauses are seconds, doubled, with jitter:"""
_FRESH_START_S = 0.5

_T = TypeVar("_T")


class BucketError(Exception):
    """The bucket, not an object, fails; the message is the sentence that people read."""


@dataclass(frozen=True)
class Patience:
    """How much of S3's trouble one request bears before it counts as failed.

    Args:
        budget_s: seconds from the first try after which there is no other.
        retries: how many tries there are at most after the first. As many as the budget allows by the pauses.
        first_pause_s: before the second try; later ones are random between this and three times the one before,
            so that clients that failed together come back one by one.
        longest_pause_s: of those pauses.
        silence_s: a server that says nothing for so long has lost the request.
        answer_s: a whole answer, body included, takes no longer.
    """

    budget_s: float = 120.0
    retries: int = 30
    first_pause_s: float = 0.1
    longest_pause_s: float = 10.0
    silence_s: float = 20.0
    answer_s: float = 300.0


PATIENCE = Patience()
"""With images. A server that is away for half a minute, as S3 is when it splits a busy prefix, costs that much time."""


class Wanted(NamedTuple):
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

    def fetch(self, wanted: Sequence[Wanted]) -> list[bytes | Rejected]:
        """Fetch objects, in the order asked for.

        Raises:
            BucketError: when more than single objects still fail after every retry.
        """
        failures: list[BaseError] = []
        most = max(1, len(wanted) // ALONE)

        def bounded(one: Wanted) -> bytes | Rejected:
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

    def _fetch_one(self, wanted: Wanted) -> bytes | Rejected:
        if refusal := refuse(wanted, self._max_bytes):
            return refusal
        try:
            etag, data = afresh(partial(self._get, wanted.key), PATIENCE)
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


def afresh(call: Callable[[], _T], patience: Patience) -> _T:
    """Begin a call anew where it failed although obstore tries requests again.

    That gives up at once where a listing's answer breaks off, or a removal's connection, or where it cannot tell what
    went wrong with a body or a connection. All of these may be asked for twice: what is gone already is gone.
    """
    end = time.monotonic() + patience.budget_s
    for start in range(FRESH_STARTS):
        try:
            return call()
        except GenericError:
            if time.monotonic() > end:
                raise
            time.sleep(_FRESH_START_S * 2**start * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
    return call()


def open_bucket(bucket: str, prefix: str = "", patience: Patience = PATIENCE) -> ObjectStore:
    """Open a bucket, or a prefix of it, found and authorised the way botocore would, and patient with its trouble.

    An address over plain HTTP is only ever one that the environment names on purpose, so it is allowed.
    """
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=min(10.0, patience.silence_s)),
            "read_timeout": timedelta(seconds=patience.silence_s),
            "timeout": timedelta(seconds=patience.answer_s),
        },
        retry_config={
            "max_retries": patience.retries,
            "retry_timeout": timedelta(seconds=patience.budget_s),
            "backoff": {
                "init_backoff": timedelta(seconds=patience.first_pause_s),
                "max_backoff": timedelta(seconds=patience.longest_pause_s),
                "base": 3,
            },
        },
    )


def refuse(wanted: Wanted, max_bytes: int) -> Rejected | None:
    """Judge an object by its inventory entry alone.

    >>> refuse(Wanted("a.jpg", 0, ""), max_bytes=10).reason
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
