"""Fetches images from the bucket with many concurrent requests.

The inventory decides. An object that is gone, or was replaced since the inventory was taken, is `Rejected`.

Errors 500 and 503, resets, timeouts and responses that break off are faults of S3, not of the images. obstore retries
them with backoff and jitter, within the limits of `RetryPolicy`. `retry_call` repeats the errors that obstore does not
retry. Objects that still fail are treated in one of two ways:

- A single object that fails among others that succeed is `Rejected`, so that it does not fail the run.
- Several failing objects raise a `BucketError`, which fails the task. Spark runs a task up to four times.

An object that S3 refuses, such as an archived one, is `Rejected` (`contract.refusals`). Refused credentials are
failures: they say nothing about the object.

An ETag of 32 hexadecimal digits is the MD5 of the bytes after a plain upload, but not with SSE-KMS or SSE-C. So bytes
with another MD5 are fetched again, and are accepted if two answers are equal.

Region, endpoint and credentials come from botocore's variables (`AWS_ENDPOINT_URL_S3`, `AWS_REGION` …) or from the
instance profile.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import md5
from typing import NamedTuple

from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import ObjectStore

from fruits_features.contract.image_keys import key_problem
from fruits_features.contract.refusals import CALLER_CODES, object_refusal
from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.io.retry import RetryPolicy, retry_call
from fruits_features.io.s3_access import problem

MAX_CONCURRENT_REQUESTS = 64
"""Number of concurrent requests per worker; see docs/measurements/constants.md.

Each request waits in a thread, which takes less CPU time per object than a coroutine.
"""

OBJECTS_PER_FAILURE = 100
"""Number of objects in a call for which one failure is tolerated. One failure is tolerated in smaller calls too."""


MAX_ANSWERS = 3
"""Largest number of times that an object is fetched until its bytes match its ETag or an earlier answer."""

_MD5 = re.compile("[0-9a-f]{32}")
_REFUSAL = re.compile(
    r"status code: 4\d\d [\w ]+: .*?<Code>(?P<code>[\w.]+)</Code>(?:.*?<Message>(?P<message>.*?)</Message>)?", re.DOTALL
)
"""S3's answer in the message of an obstore error. The key before it may contain anything."""

IMAGE_RETRIES = RetryPolicy()
"""Retry policy for images. Its budget covers the half minute of 503 errors while S3 splits a busy prefix."""


class BucketError(Exception):
    """The bucket fails, not a single object. The message is written for users."""


class _RefusedError(Exception):
    """S3 refuses to return the object. The message is the reason."""


class ObjectRef(NamedTuple):
    """An object as listed in the inventory."""

    key: str
    size: int
    etag: str


class FetchedObject(NamedTuple):
    """A fetched object.

    Args:
        content: Bytes of the object.
        by_content: Whether the ETag is the MD5 of the bytes, as after a plain upload, and so identifies the content.
    """

    content: bytes
    by_content: bool


class Fetcher:
    """Fetches objects of one bucket. Call `close` to end its threads.

    Args:
        store: The bucket.
        max_bytes: Largest object in bytes; larger ones are rejected without being fetched.
    """

    def __init__(self, store: ObjectStore, max_bytes: int) -> None:
        self._store, self._max_bytes = store, max_bytes
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT_REQUESTS)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def fetch(self, objects: Sequence[ObjectRef]) -> list[FetchedObject | Rejected]:
        """Fetch objects.

        Returns:
            One result per object, in the given order: the object, or the reason why it was rejected.

        Raises:
            BucketError: Several objects failed after all retries, or all of them did.
        """
        failures: list[BaseError] = []
        max_failures = max(1, len(objects) // OBJECTS_PER_FAILURE)

        def fetch_one(ref: ObjectRef) -> FetchedObject | Rejected:
            if len(failures) > max_failures:
                return _rejected(Reason.UNAVAILABLE, "Skipped: too many other requests had failed.")
            try:
                return self._fetch_one(ref)
            except BaseError as error:
                failures.append(error)
                return _rejected(
                    Reason.UNAVAILABLE,
                    f"The object failed after all retries, while others were fetched: {_first_line(error)}",
                )

        results = list(self._threads.map(fetch_one, objects))
        if len(failures) > max_failures or (failures and all(isinstance(result, Rejected) for result in results)):
            raise _bucket_error(failures, len(objects)) from failures[0]
        return results

    def _fetch_one(self, ref: ObjectRef) -> FetchedObject | Rejected:
        if rejected := check_entry(ref, self._max_bytes):
            return rejected
        answers: list[bytes] = []
        try:
            while len(answers) < MAX_ANSWERS:
                etag, data = retry_call(partial(self._get, ref.key), IMAGE_RETRIES)
                if etag != ref.etag or len(data) != ref.size:
                    listed, current = f"{ref.size} bytes, ETag {ref.etag}", f"{len(data)} bytes, ETag {etag}"
                    return _rejected(Reason.CHANGED, f"In the inventory: {listed}; now: {current}.")
                by_content = has_md5(data, etag)
                if by_content or not _MD5.fullmatch(etag) or data in answers:
                    return FetchedObject(data, by_content)
                answers.append(data)
        except FileNotFoundError:
            return _rejected(Reason.GONE, "The object is in the inventory but no longer in the bucket.")
        except _RefusedError as refusal:
            return _rejected(Reason.FORBIDDEN, str(refusal))
        return _rejected(
            Reason.UNAVAILABLE,
            f"S3 returned other bytes each of {MAX_ANSWERS} times, none of them with the MD5 {etag}.",
        )

    def _get(self, key: str) -> tuple[str, bytes]:
        """Return the ETag and the content of an object.

        Raises:
            _RefusedError: S3 refuses this object.
        """
        try:
            response = self._store.get(key)
        except BaseError as error:
            if refusal := _refusal(error):
                raise _RefusedError(refusal) from error
            raise
        return (response.meta["e_tag"] or "").strip('"'), bytes(response.bytes())


def has_md5(data: bytes, etag: str) -> bool:
    """Return whether an ETag is the MD5 of bytes.

    >>> has_md5(b"a", "0cc175b9c0f1b6a831c399e269772661"), has_md5(b"a", "0" * 32), has_md5(b"a", "0-2")
    (True, False, False)
    """
    return bool(_MD5.fullmatch(etag)) and md5(data, usedforsecurity=False).hexdigest() == etag


def check_entry(ref: ObjectRef, max_bytes: int) -> Rejected | None:
    """Return why an object is rejected by its inventory entry alone; `None` if it is not.

    >>> check_entry(ObjectRef("a.jpg", 0, ""), max_bytes=10).reason
    <Reason.EMPTY: 'empty'>
    """
    if ref.size == 0:
        return _rejected(Reason.EMPTY, "The object is empty.")
    if ref.size > max_bytes:
        return _rejected(Reason.TOO_MANY_BYTES, f"The object has {ref.size} bytes; the limit is {max_bytes}.")
    if problem := key_problem(ref.key):
        return _rejected(Reason.UNUSABLE_KEY, f"The key {problem} and cannot be requested; rename the object.")
    return None


def _rejected(reason: Reason, detail: str) -> Rejected:
    return Rejected(Stage.FETCH, reason, detail)


def _refusal(error: BaseError) -> str | None:
    """Return why S3 refuses an object, one sentence; `None` if the error does not concern the object."""
    answer = _REFUSAL.search(str(error))
    code, message = (answer["code"], answer["message"] or "") if answer else ("", "")
    if refusal := object_refusal(code, message):
        return refusal
    if isinstance(error, PermissionDeniedError) and code not in CALLER_CODES:
        return f"S3 denied access to the object ({code or '403'})."
    return None


def _bucket_error(failures: Sequence[BaseError], requested: int) -> BucketError:
    remedy = problem(failures[0]) or (
        "check that the bucket can be reached and that its request rate is not exceeded, then run again"
    )
    return BucketError(
        f"{len(failures)} of {requested} objects could not be fetched after all retries: {remedy}. "
        f"First error: {_first_line(failures[0])}"
    )


def _first_line(error: BaseError) -> str:
    """Return the message of an obstore error without the internal state that follows it."""
    return str(error).partition("\n")[0]
