"""Limits of what visitors may cost: size, time, rate and concurrency."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from fruits_features.contract.arguments import DEFAULT_MAX_IMAGE_PIXELS
from fruits_features.contract.rejections import Reason
from fruits_features.imaging.limits import DEADLINE_S

MAX_CLIENTS = 10_000
"""Number of clients whose rate is remembered. Those that were inactive for longest are forgotten first."""
_MINUTE_S = 60.0


@dataclass(frozen=True)
class Limits:
    """Limits of one service.

    Args:
        max_bytes: Largest photo in bytes. A JPEG of 50 megapixels has 10 to 20 MB.
        max_pixels: Largest photo in pixels.
        body_s: Longest time for the photo to arrive, in seconds.
        deadline_s: Longest time to compute the components of a photo, in seconds. Its process is then ended.
        answer_s: Longest time that a request waits for earlier ones and for its answer, in seconds.
        pictures_s: Longest time to fetch the pictures of the neighbours, in seconds. Missing pictures are left out.
        per_minute: Photos per client and minute. A client may send them at once.
        concurrent: Requests in progress. They are recognised one after another.
        concurrent_per_client: Requests of one client in progress.
        max_age_s: Time after which `latest.json` is read again, in seconds.
    """

    max_bytes: int = 25 * 2**20
    max_pixels: int = DEFAULT_MAX_IMAGE_PIXELS
    body_s: float = 30.0
    deadline_s: float = DEADLINE_S
    answer_s: float = 60.0
    pictures_s: float = 10.0
    per_minute: int = 30
    concurrent: int = 8
    concurrent_per_client: int = 4
    max_age_s: float = 10.0


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """Answer to a request that cannot be fulfilled.

    Args:
        status: HTTP status.
        sentence: Reason, for the user.
        retry_after_s: Seconds after which the request may succeed; `None` if it never will.
        reason: Reason for which the photo was rejected; `None` if it was not.
    """

    def __init__(
        self, status: int, sentence: str, retry_after_s: float | None = None, reason: Reason | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.reason = status, reason
        self.retry_after_s = None if retry_after_s is None else max(1, ceil(retry_after_s))


class _Tokens(NamedTuple):
    left: float
    at: float


class RateLimiter:
    """A token bucket for each client. It is full at first, and refilled evenly.

    Args:
        per_minute: Requests per minute, and size of the bucket.
        clock: Function that returns seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._clients: OrderedDict[str, _Tokens] = OrderedDict()

    def take(self, client: str) -> None:
        """Count a request of a client.

        Raises:
            Refusal: The client has sent too many.
        """
        now, per_second = self._clock(), self._per_minute / _MINUTE_S
        before = self._clients.pop(client, _Tokens(self._per_minute, now))
        left = min(self._per_minute, before.left + (now - before.at) * per_second)
        is_allowed = left >= 1
        self._clients[client] = _Tokens(left - is_allowed, now)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        if not is_allowed:
            wait_s = (1 - left) / per_second
            raise Refusal(
                429, f"More than {self._per_minute} photos a minute; try again in {ceil(wait_s)} seconds.", wait_s
            )


class Slots:
    """Bound of the requests in progress.

    Args:
        total: Requests of all clients.
        per_client: Requests of one client.
    """

    def __init__(self, total: int, per_client: int) -> None:
        self._total, self._per_client = total, per_client
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, client: str) -> Iterator[None]:
        """Take a place for the block.

        Raises:
            Refusal: There is none.
        """
        if self._taken[client] >= self._per_client or self._taken.total() >= self._total:
            raise Refusal(429, "Too many photos are being recognised at the moment; try again in a second.", 1)
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]
