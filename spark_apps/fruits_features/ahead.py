"""Doing the next thing while the last one is used: what keeps the network and the processor busy at once."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_A = TypeVar("_A")


def map_ahead(function: Callable[[_A], _T], arguments: Iterable[_A]) -> Iterator[_T]:
    """Map like `map`, but compute one result ahead, in a thread, while the caller uses the one before.

    >>> list(map_ahead(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(1) as thread:
        pending = None
        for argument in arguments:
            following = thread.submit(function, argument)
            if pending:
                yield pending.result()
            pending = following
        if pending:
            yield pending.result()


class Behind:
    """Runs calls one after the other in a thread, at most one behind the caller: memory stays bounded.

    An error is raised by the next call, or by `close`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[object] | None = None

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Run a call once the one before is done, for which this waits."""
        self._wait()
        self._pending = self._thread.submit(function, *arguments)

    def close(self) -> None:
        """Wait for the last call."""
        try:
            self._wait()
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        if self._pending:
            self._pending.result()
