"""Waits for a condition in another thread, process or server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_for(
    read: Callable[[], T], condition: Callable[[T], bool] = bool, *, within_s: float = 300.0, pause_s: float = 0.02
) -> T:
    """Call `read` until its value meets the condition, and return the value. Fail with the last value."""
    deadline = time.monotonic() + within_s
    while not condition(value := read()):
        assert time.monotonic() < deadline, f"still {value!r} after {within_s} s"
        time.sleep(pause_s)
    return value
