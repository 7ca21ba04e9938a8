"""The published run in memory, which follows `latest.json`."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fruits_features.client.serve.limits import Limits, Refusal
from fruits_features.client.serve.source import Recogniser, Run, Source
from fruits_features.contract.errors import RunError

if TYPE_CHECKING:
    from fruits_features.client.serve.recognition import Worker

RETRY_S = 60.0
"""Seconds after which a published run that could not be used is tried again."""

_EXPLAINED = (ImportError, OSError, RunError, ValueError)
"""Errors of a run that cannot be used. Their messages are written for users."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedRun:
    """A run, and the process that computes components for it.

    Args:
        run: Published run.
        recogniser: Recogniser of the run.
        worker: Child process.
    """

    run: Run
    recogniser: Recogniser
    worker: "Worker"


class Follower:
    """Keeps the published run in memory.

    The run is loaded when it is first needed. `latest.json` is read again when a run is needed and the last time was
    `max_age_s` ago. A newer run is loaded in the background, and replaces the earlier one when it is ready. The earlier
    one stays if the newer one cannot be used.

    Args:
        source: Place of the published run.
        limits: Limits of the process and of the age.
        clock: Function that returns seconds.
    """

    def __init__(self, source: Source, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._limits, self._clock = source, limits, clock
        self._thread = executor("load a run")
        self._loaded: LoadedRun | None = None
        self._pointer: Mapping[str, Any] | None = None
        self._refreshing: Future[None] | None = None
        self._due = 0.0

    async def current(self) -> LoadedRun:
        """Return the run in memory. Wait only for the first one.

        Raises:
            Refusal: There is no run that can be used.
        """
        refreshing = self.refresh()
        if self._loaded is None:
            await self._first(refreshing)
        if self._loaded is None:
            raise Refusal(503, "The published run is being loaded; try again in some seconds.", 5)
        return self._loaded

    def refresh(self) -> Future[None]:
        """Return the latest reading of `latest.json`, and start a new one if it is too old."""
        if self._refreshing is None or (self._refreshing.done() and self._clock() >= self._due):
            self._refreshing = self._thread.submit(self._refresh)
        return self._refreshing

    async def _first(self, refreshing: Future[None]) -> None:
        """Wait until the first run is loaded, or for the longest time of an answer.

        Raises:
            Refusal: It cannot be loaded. Later visitors get the same answer until the next attempt.
        """
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(refreshing)), self._limits.answer_s)
        except _EXPLAINED as error:
            if refreshing.done():
                raise Refusal(503, _sentence(error), self._limits.max_age_s) from error
        except Exception as error:
            _log.exception("The published run cannot be loaded.")
            sentence = "The published run cannot be loaded. The log of this server contains the reason."
            raise Refusal(503, sentence, self._limits.max_age_s) from error

    def _refresh(self) -> None:
        """Load the published run if it is not the one in memory."""
        pause_s = self._limits.max_age_s
        try:
            pointer = self._source.pointer()
            if pointer != self._pointer:
                self._loaded, self._pointer = self._open(pointer), pointer
                _log.info("Run %s is in use.", self._loaded.run.run)
        except Exception as error:
            if self._loaded is None:
                raise
            pause_s = max(RETRY_S, pause_s)
            _log.warning("Run %s stays in use, because the published run fails: %s", self._loaded.run.run, error)
        finally:
            self._due = self._clock() + pause_s

    def _open(self, pointer: Mapping[str, Any]) -> LoadedRun:
        """Open a run, and read all of it that photos need."""
        from fruits_features.client.serve.recognition import Worker  # noqa: PLC0415 - loads OpenCV

        run = self._source.open(pointer)
        recogniser = run.recogniser
        run.nearest_to(np.ones(run.projection.k, np.float32), 1)
        return LoadedRun(run, recogniser, Worker(run.projection, self._limits.max_pixels, self._limits.deadline_s))


def executor(name: str) -> ThreadPoolExecutor:
    """Return a thread for one call after another.

    It blocks the signal of Ctrl-C. The processes that it starts inherit this. They end with this process instead.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return ThreadPoolExecutor(1, name)
    return ThreadPoolExecutor(1, name, signal.pthread_sigmask, (signal.SIG_BLOCK, {signal.SIGINT}))


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"The published run needs the package {error.name}, which is not installed on this server."
    return str(error)
