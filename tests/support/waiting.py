"""Waiting for what happens elsewhere: in another thread, another process, another server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_for(
    read: Callable[[], T], wanted: Callable[[T], bool] = bool, *, within_s: float = 60.0, pause_s: float = 0.02
) -> T:
    """Read until the value is wanted, and return it; the value is the message if it never is."""
    until = time.monotonic() + within_s
    while not wanted(value := read()):
        assert time.monotonic() < until, f"still {value!r} after {within_s} s"
        time.sleep(pause_s)
    return value
