"""Calls in a process of their own, so that a call that kills its process costs one result and not the caller.

For what no `except` can catch: a decoder that reads outside its memory, or takes so much that the system ends it. Knows
nothing of images. A call that never returns is waited for.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from types import ModuleType, TracebackType
from typing import Generic, Self, TypeVar

_A = TypeVar("_A")
_T = TypeVar("_T")

_TRIES_ALONE = 2
"""The second one is in a new process: an earlier call may have left the first one damaged."""


class IsolationError(Exception):
    """The process for the calls cannot even be started."""


class InProcess(Generic[_A, _T]):
    """Calls a function in this process. Same interface as `SubprocessPool`.

    Args:
        function: Function of one argument.
    """

    def __init__(self, function: Callable[[_A], _T]) -> None:
        self._function = function

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Do nothing: there is no process to end."""

    def call(self, arguments: Sequence[_A]) -> list[_T | None]:
        """Call the function with each argument."""
        return [self._function(argument) for argument in arguments]


class SubprocessPool(Generic[_A, _T]):
    """Calls a function in a child process; use it in a `with` statement.

    Args:
        function: can be pickled, as what it is given and what it returns.
    """

    def __init__(self, function: Callable[[_A], _T]) -> None:
        self._function = function
        self._child: _Child[_A, _T] | None = None

    def __enter__(self) -> Self:
        """Begin to start a child: that goes on while the first arguments are gathered."""
        self._child = _Child(self._function)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the child."""
        self._stop()

    def call(self, arguments: Sequence[_A]) -> list[_T | None]:
        """Call the function with each argument; `None` where that ends the process even alone and in a new one.

        Raises:
            IsolationError: when no process can be started.
        """
        try:
            return [*self._in_child(arguments)]
        except BrokenProcessPool:
            return [self._call_alone(argument) for argument in arguments]

    def _call_alone(self, argument: _A) -> _T | None:
        for _ in range(_TRIES_ALONE):
            with suppress(BrokenProcessPool):
                return self._in_child([argument])[0]
        return None

    def _in_child(self, arguments: Sequence[_A]) -> list[_T]:
        self._child = self._child or _Child(self._function)
        try:
            return self._child.call(arguments)
        except BrokenProcessPool:
            self._stop()
            raise

    def _stop(self) -> None:
        if self._child:
            self._child.end()
            self._child = None


class _Child(Generic[_A, _T]):
    """One child process, until it dies.

    Args:
        function: what it calls.
    """

    def __init__(self, function: Callable[[_A], _T]) -> None:
        # Not by forking, which would copy locks that threads of this process hold, and nobody releases.
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_parent)
        self._function = function
        with _hidden_main():
            self._ready = self._pool.submit(_call_each, function, ())

    def call(self, arguments: Sequence[_A]) -> list[_T]:
        """Call the function with each argument, once the child has started and loaded the function's modules.

        Raises:
            BrokenProcessPool: when it dies of that.
            IsolationError: when it could not even start.
        """
        try:
            self._ready.result()
        except BrokenProcessPool as error:
            raise IsolationError(
                "A child process for reading images cannot be started; its own words stand above."
            ) from error
        return self._pool.submit(_call_each, self._function, arguments).result()

    def end(self) -> None:
        """End it."""
        self._pool.shutdown()


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide the program's own module from children that are started: they would run it again.

    Airflow's program, for one, cannot run below a task. What is called in the child lives in modules of its own.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _end_with_parent() -> None:
    """See that the child does not outlive a parent that is killed; the pool would have it wait for ever."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="end with parent", daemon=True).start()


def _call_each(function: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:
    return [function(argument) for argument in arguments]
