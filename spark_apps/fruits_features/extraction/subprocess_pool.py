"""Calls that may crash or never return, with a deadline for each.

`SubprocessPool` makes the calls in a child process. A call that crashes the child or exceeds the deadline costs one
result and not the caller. No `except` statement can catch such failures: a decoder may read outside its memory, use so
much memory that the system kills it, or loop for ever. `InProcess` makes the calls in this process, which is faster. It
ends the process when a call exceeds the deadline, so that the process that started it can make the calls in a child.

Does not know images.
"""

import logging
import multiprocessing
import os
import pickle
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from multiprocessing.connection import Connection
from types import ModuleType, TracebackType
from typing import Any, Generic, Self, TypeVar

from fruits_features.contract.errors import RunError

_A = TypeVar("_A")
_T = TypeVar("_T")

_ATTEMPTS = 2
"""Attempts of a call that crashes its child. The second one is in a new child, because an earlier call may have damaged
the first child's memory."""

_START_DEADLINE_S = 120.0
"""Longest time for a child to start and import its modules, in seconds. It takes about a second on an idle machine."""

_CHECKS_PER_DEADLINE = 20
"""Number of times that the watchdog checks a call before its deadline."""

EXIT_TIMED_OUT = 75
"""Exit code of a process that ended itself: EX_TEMPFAIL of sysexits.h, "try again"."""

_log = logging.getLogger(__name__)


class IsolationError(RunError):
    """The child process cannot be started."""


class Failure(Enum):
    """Reason why a call has no result."""

    CRASHED = "crashed"
    TIMED_OUT = "timed out"


class Pool(ABC, Generic[_A, _T]):
    """Calls a function with a deadline; use it in a `with` statement."""

    def __enter__(self) -> Self:
        """Return this pool."""
        return self

    @abstractmethod
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Release the pool's thread or process."""

    @abstractmethod
    def map(self, arguments: Iterable[_A], names: Iterable[str]) -> Iterator[_T | Failure]:
        """Call the function with each argument, and yield each result before the next call.

        Args:
            arguments: Arguments of the function.
            names: Name of each argument for the log.
        """


class InProcess(Pool[_A, _T]):
    """Calls a function in this process.

    A thread watches the calls and ends this process when one exceeds the deadline. It can do so while the function
    runs C code that releases the interpreter's lock, as the functions of OpenCV and onnxruntime do.

    Args:
        function: Function of one argument.
        deadline_s: Longest time of a call in seconds.
    """

    def __init__(self, function: Callable[[_A], _T], deadline_s: float) -> None:
        self._function = function
        self._deadline_s = deadline_s
        self._current: tuple[str, float] | None = None  # name and start of the call in progress
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        """Start the thread."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the thread."""
        self._closed.set()

    def map(self, arguments: Iterable[_A], names: Iterable[str]) -> Iterator[_T | Failure]:
        """Call the function with each argument. End this process if a call exceeds the deadline."""
        for argument, name in zip(arguments, names, strict=True):
            self._current = name, time.monotonic()
            try:
                result = self._function(argument)
            finally:
                self._current = None
            yield result

    def _watch(self) -> None:
        while not self._closed.wait(self._deadline_s / _CHECKS_PER_DEADLINE):
            current = self._current
            if current and time.monotonic() - current[1] > self._deadline_s:
                _log.critical("%s took longer than %g s. Ending this process.", current[0], self._deadline_s)
                os._exit(EXIT_TIMED_OUT)


class SubprocessPool(Pool[_A, _T]):
    """Calls a function in a child process.

    Args:
        function: Function of one argument. The function, its arguments and its results can be pickled.
        deadline_s: Longest time of a call in seconds.
        environment: Environment variables that the child sets before it loads the function's modules.
    """

    def __init__(
        self, function: Callable[[_A], _T], deadline_s: float, environment: Mapping[str, str] | None = None
    ) -> None:
        self._function = function
        self._deadline_s = deadline_s
        self._environment = dict(environment or {})
        self._child: _Child[_A, _T] | None = None

    def __enter__(self) -> Self:
        """Start a child, without waiting until it is ready."""
        self._child = self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the child."""
        self._stop()

    def map(self, arguments: Iterable[_A], names: Iterable[str]) -> Iterator[_T | Failure]:
        """Call the function with each argument in the child.

        Raises:
            IsolationError: The child process cannot be started.
        """
        for argument, name in zip(arguments, names, strict=True):
            yield self._call(argument, name)

    def _call(self, argument: _A, name: str) -> _T | Failure:
        for _ in range(_ATTEMPTS):
            child = self._child = self._child or self._start()
            try:
                return child.call(argument, self._deadline_s)
            except _ChildCrashedError:
                self._stop()
            except TimeoutError:
                self._stop()
                _log.error("%s took longer than %g s. Its process was killed.", name, self._deadline_s)
                return Failure.TIMED_OUT
        _log.error("%s crashed its process, and crashed it again in a fresh process.", name)
        return Failure.CRASHED

    def _start(self) -> "_Child[_A, _T]":
        return _Child(self._function, self._environment)

    def _stop(self) -> None:
        if self._child:
            self._child.kill()
            self._child = None


class _ChildCrashedError(Exception):
    """The child has ended during a call."""


class _Child(Generic[_A, _T]):
    """One child process.

    Args:
        function: Function that the child calls.
        environment: Environment variables of the child.
    """

    def __init__(self, function: Callable[[_A], _T], environment: Mapping[str, str]) -> None:
        # A forked child would copy locks that threads of this process hold, and nothing would release them.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, environment, pickle.dumps(function))
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._is_ready = False
        with _hidden_main():
            self._process.start()
        theirs.close()  # only the child's end is open now, so that its death closes the pipe

    def call(self, argument: _A, deadline_s: float) -> _T:
        """Return the result of one call, and wait first until the child has started.

        Raises:
            IsolationError: The child could not start.
            TimeoutError: The call took longer than the deadline.
            _ChildCrashedError: The child has ended.
        """
        self._wait_until_ready()
        try:
            self._pipe.send(argument)
            if not self._pipe.poll(deadline_s):
                raise TimeoutError
            succeeded, outcome = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise _ChildCrashedError from error
        if not succeeded:
            raise outcome
        result: _T = outcome
        return result

    def _wait_until_ready(self) -> None:
        if self._is_ready:
            return
        try:
            if not self._pipe.poll(_START_DEADLINE_S):
                raise IsolationError(f"The child process is not ready after {_START_DEADLINE_S:g} s.")
            self._pipe.recv()
            self._is_ready = True
        except (EOFError, ConnectionError) as error:
            raise IsolationError("The child process cannot be started; its error is in the log above.") from error

    def kill(self) -> None:
        """End the child, whatever it does."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide the module `__main__` from started children, which would run it again.

    Airflow's program, for example, cannot run inside a task. The called functions are in other modules.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(pipe: Connection, environment: Mapping[str, str], pickled: bytes) -> None:
    """Receive arguments and send the results, until the pipe is closed. Runs in the child.

    The function is unpickled here, because that imports its modules, and libraries read the environment on import.
    """
    _end_with_parent()
    os.environ.update(environment)
    function: Callable[[Any], Any] = pickle.loads(pickled)  # noqa: S301 - from the parent
    pipe.send("ready")
    while True:
        try:
            argument = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, function(argument)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            answer = False, error
        pipe.send(answer)


def _end_with_parent() -> None:
    """End this child when its parent is killed, also during a call."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="end with parent", daemon=True).start()
