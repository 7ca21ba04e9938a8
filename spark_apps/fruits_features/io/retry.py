"""Retries of failed requests to S3."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from obstore.exceptions import GenericError

MAX_REPETITIONS = 3
"""Largest number of times that a failed call is repeated within the budget."""

_FIRST_PAUSE_S = 0.5
"""Pause before the first repetition, in seconds. It doubles each time, with jitter."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """Retries and timeouts of one request.

    Args:
        budget_s: Time in seconds after the first attempt during which the request is retried.
        retries: Largest number of retries. The default allows as many as fit into the default budget.
        first_pause_s: Pause in seconds before the first retry. Later pauses are random, between this value and three
            times the pause before. The jitter spreads the retries of clients that failed together.
        max_pause_s: Longest pause in seconds.
        read_timeout_s: Time in seconds without any data from the server after which an attempt has failed.
        timeout_s: Time in seconds after which an attempt has failed, the response's body included.
    """

    budget_s: float = 120.0
    retries: int = 30
    first_pause_s: float = 0.1
    max_pause_s: float = 10.0
    read_timeout_s: float = 20.0
    timeout_s: float = 300.0


def retry_call(call: Callable[[], _T], policy: RetryPolicy) -> _T:
    """Repeat a call that failed with an error that obstore itself does not retry.

    obstore does not retry a listing whose response breaks off, a deletion whose connection breaks, or an error of a
    body or connection that it cannot classify. All these requests are idempotent.
    """
    deadline = time.monotonic() + policy.budget_s
    for repetition in range(MAX_REPETITIONS):
        try:
            return call()
        except GenericError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_FIRST_PAUSE_S * 2**repetition * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
    return call()
