"""How failed requests to S3 are tried again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from obstore.exceptions import GenericError

CALLS = 3
"""A failed call is repeated at most this many times within the budget."""

_FIRST_PAUSE_S = 0.5
"""Pause before the first repetition, in seconds. It doubles each time, with jitter."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
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


def retry_call(call: Callable[[], _T], policy: RetryPolicy) -> _T:
    """Begin a call anew where it failed although obstore tries requests again.

    That gives up at once where a listing's answer breaks off, or a removal's connection, or where it cannot tell what
    went wrong with a body or a connection. All of these may be asked for twice: what is gone already is gone.
    """
    end = time.monotonic() + policy.budget_s
    for start in range(CALLS):
        try:
            return call()
        except GenericError:
            if time.monotonic() > end:
                raise
            time.sleep(_FIRST_PAUSE_S * 2**start * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
    return call()
