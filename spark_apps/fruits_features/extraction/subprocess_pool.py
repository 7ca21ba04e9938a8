"""Calls in a child process, so that a call that crashes its process costs one result and not the caller.

This covers crashes that no `except` can catch: a decoder that reads outside its memory, or that is killed for using too
much of it. There is no timeout for a call that never returns.
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

_MAX_ATTEMPTS = 2
"""Attempts for a single argument, each in a new process if the one before crashed."""


class IsolationError(Exception):
    """The child process cannot be started."""


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
        """Return without an action, because there is no process to end."""

    def call(self, arguments: Sequence[_A]) -> list[_T | None]:
        """Call the function with each argument."""
        return [self._function(argument) for argument in arguments]


class SubprocessPool(Generic[_A, _T]):
    """Calls a function in a child process; use it in a `with` statement.

    Args:
        function: Function of one argument. Function, arguments and results can be pickled.
    """

    def __init__(self, function: Callable[[_A], _T]) -> None:
        self._function = function
        self._child: _Child[_A, _T] | None = None

    def __enter__(self) -> Self:
        """Start a child process in the background."""
        self._child = _Child(self._function)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the child process."""
        self._stop()

    def call(self, arguments: Sequence[_A]) -> list[_T | None]:
        """Call the function with each argument.

        Returns:
            One result per argument; `None` if the argument crashed two processes.

        Raises:
            IsolationError: The child process cannot be started.
        """
        try:
            return [*self._in_child(arguments)]
        except BrokenProcessPool:
            return [self._call_single(argument) for argument in arguments]

    def _call_single(self, argument: _A) -> _T | None:
        for _ in range(_MAX_ATTEMPTS):
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
    """A child process.

    Args:
        function: Function that the child calls.
    """

    def __init__(self, function: Callable[[_A], _T]) -> None:
        # Spawned, because a fork would copy locks held by threads of this process, which nothing would release.
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_parent)
        self._function = function
        with _hidden_main():
            self._ready = self._pool.submit(_call_each, function, ())

    def call(self, arguments: Sequence[_A]) -> list[_T]:
        """Call the function with each argument, after the child has started and imported the function's modules.

        Raises:
            BrokenProcessPool: The child crashed.
            IsolationError: The child could not start.
        """
        try:
            self._ready.result()
        except BrokenProcessPool as error:
            raise IsolationError(
                "The child process for decoding images cannot be started; its error is in the log above."
            ) from error
        return self._pool.submit(_call_each, self._function, arguments).result()

    def end(self) -> None:
        """End the process."""
        self._pool.shutdown()


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide the main module from spawned children, which would otherwise run it again.

    Some main modules, such as Airflow's task runner, must not run in a child. The called functions are in other
    modules.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _end_with_parent() -> None:
    """Exit the child when its parent is killed. The pool alone would leave it waiting forever."""
    parent = multiprocessing.parent_process()

    def exit_with_parent() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, name="end with parent", daemon=True).start()


def _call_each(function: Callable[[_A], _T], arguments: Sequence[_A]) -> list[_T]:
    return [function(argument) for argument in arguments]
