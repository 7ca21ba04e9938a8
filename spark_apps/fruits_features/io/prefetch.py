"""Doing the next thing while the last one is used: what keeps the network and the processor busy at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_A = TypeVar("_A")


def prefetch_map(function: Callable[[_A], _T], arguments: Iterable[_A], ahead: int = 1) -> Iterator[_T]:
    """Map like `map`, but compute results ahead, in threads, while the caller uses the one before.

    Args:
        function: is called in threads, as many calls at once as are ahead.
        arguments: of the calls.
        ahead: how many results there are at most that the caller has not seen.

    >>> list(prefetch_map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(ahead) as threads:
        pending: deque[Future[_T]] = deque()
        for argument in arguments:
            pending.append(threads.submit(function, argument))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class BackgroundWriter:
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
