"""Work in background threads, so that the network and the processor are busy at the same time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_A = TypeVar("_A")


def prefetch_map(function: Callable[[_A], _T], arguments: Iterable[_A], ahead: int = 1) -> Iterator[_T]:
    """Map a function like `map`, but compute the next results in threads while the caller uses the current one.

    Args:
        function: Function that is called in threads, up to `ahead` calls at once.
        arguments: One argument per call.
        ahead: Largest number of results computed before the caller requests them, at least 1.

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
    """Runs calls in order in one thread. Holds at most one pending call, so that memory stays bounded.

    The next call, or `close`, raises the error of a failed call.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[object] | None = None

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Wait for the pending call, then start this one."""
        self._wait()
        self._pending = self._thread.submit(function, *arguments)

    def close(self) -> None:
        """Wait for the pending call and end the thread."""
        try:
            self._wait()
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        if self._pending:
            self._pending.result()
