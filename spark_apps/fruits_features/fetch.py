"""Objects from the bucket: many in flight, a bounded number, retried with backoff and jitter.

The inventory is the truth: an object that is gone or was replaced since comes back as `Rejected`. What remains of S3's
trouble after the retries is raised, so that Spark tries the partition again instead of blaming the images.

The store itself reads botocore's standard variables (`AWS_ENDPOINT_URL_S3`, `AWS_REGION`, credentials) and the instance
profile.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import ObjectStore, S3Store

from fruits_features.rejections import Reason, Rejected, Stage

IN_FLIGHT = 64
"""Requests at once, a worker. With 30 ms on every answer, 64 keep nine tenths of the speed, 16 six tenths."""

_PAUSES_S = (0.2, 0.8, 3.2)


class Wanted(NamedTuple):
    """One object as the inventory knows it."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Fetcher:
    """Fetches objects of one bucket.

    Args:
        store: the bucket.
        max_bytes: what is larger by the inventory is rejected without being fetched.
        in_flight: how many requests are open at once.
    """

    store: ObjectStore
    max_bytes: int
    in_flight: int = IN_FLIGHT

    def fetch(self, wanted: Sequence[Wanted]) -> list[bytes | Rejected]:
        """Fetch objects, in the order asked for.

        Raises:
            obstore.exceptions.BaseError: when the bucket still fails after every retry.
        """
        return asyncio.run(self._fetch_all(wanted))

    async def _fetch_all(self, wanted: Sequence[Wanted]) -> list[bytes | Rejected]:
        gate = asyncio.Semaphore(self.in_flight)

        async def bounded(one: Wanted) -> bytes | Rejected:
            async with gate:
                return await self._fetch_one(one)

        return await asyncio.gather(*map(bounded, wanted))

    async def _fetch_one(self, wanted: Wanted) -> bytes | Rejected:
        if refusal := refuse(wanted, self.max_bytes):
            return refusal
        try:
            data, etag = await self._get(wanted.key)
        except FileNotFoundError:
            return _rejected(Reason.GONE, "The inventoried object is no longer in the bucket.")
        except PermissionDeniedError:
            return _rejected(Reason.FORBIDDEN, "The bucket refuses to hand out this object (403).")
        if etag != wanted.etag or len(data) != wanted.size:
            before, now = f"{wanted.size} bytes, etag {wanted.etag}", f"{len(data)} bytes, etag {etag}"
            return _rejected(Reason.CHANGED, f"Inventoried with {before}; now {now}.")
        return data

    async def _get(self, key: str) -> tuple[bytes, str]:
        """Fetch one object; the store retries requests, this retries bodies that break off."""
        for pause_s in (*_PAUSES_S, None):
            try:
                answer = await self.store.get_async(key)
                return bytes(await answer.bytes_async()), (answer.meta["e_tag"] or "").strip('"')
            except (FileNotFoundError, PermissionDeniedError):
                raise
            except BaseError:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
        raise NotImplementedError  # the last round returns or raises


def open_bucket(bucket: str, prefix: str = "") -> ObjectStore:
    """Open a bucket, or a prefix of it, found and authorised the way botocore would, and patient with its trouble.

    An address over plain HTTP is only ever one that the environment names on purpose, so it is allowed.
    """
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={"allow_http": True, "timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=10)},
        retry_config={
            "max_retries": 10,
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 2},
            "retry_timeout": timedelta(minutes=3),
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
