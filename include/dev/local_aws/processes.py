"""Find and end processes for certain: by identity, by tree and by a mark in their environment.

A process id alone is no identity, since the system hands it out again; here a process is its id *and* its start time.
A process tree alone is no boundary either: a step's grandchild may leave its session, or lose its parent and go to
process 1. So everything local AWS starts carries a mark in its environment, which children inherit, and which can be
read from any process of the same user on Linux and macOS.

This module knows nothing of clusters and steps; it leaves those to `step_process` and `emr_lifecycle`.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "FRUITS_LOCAL_AWS"
"""Environment variable that carries the run's id: one `start` of local AWS."""

CLUSTER_MARK = "FRUITS_LOCAL_AWS_CLUSTER"
"""Environment variable that carries the cluster's id."""

SAME_START_S = 2.0
"""Start times nearer than this are one process: macOS and corrected clocks give them with some slack."""


class Identity(NamedTuple):
    """One process for good: a recycled id has another start time."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Identify a process that is running now.

        Raises:
            psutil.NoSuchProcess: There is no such process.
        """
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """Return the process if it, and no other with its id, still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Return the running processes in whose environment the variable has this value.

    A process of another user, or one that is just ending, has no environment to read and is never ours.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(variable) == value:
                found.append(process)
    return found


def tree(root: psutil.Process | None) -> list[psutil.Process]:
    """Return a process and all its descendants, or nothing if it has ended."""
    if root is None:
        return []
    try:
        return [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return []


def end(processes: Iterable[psutil.Process], *, grace_s: float) -> None:
    """Ask processes to end (SIGTERM), and kill those that have not after `grace_s` seconds."""
    asked = [process for process in processes if _signal(process, kill=grace_s <= 0)]
    _, stubborn = psutil.wait_procs(asked, timeout=max(grace_s, 1.0))
    for process in stubborn:
        _signal(process, kill=True)
    psutil.wait_procs(stubborn, timeout=5)


def end_marked(variable: str, value: str, *, grace_s: float = 0.0, deadline_s: float = 20.0) -> list[psutil.Process]:
    """End every process that carries the mark, until none is left.

    Scanning once is not enough: a process may fork between the scan and the signal.

    Args:
        variable: Name of the environment variable.
        value: Its value.
        grace_s: Seconds between SIGTERM and SIGKILL; 0 kills at once.
        deadline_s: Seconds after which to give up.

    Returns:
        What could not be ended: empty, unless the system itself holds a process.
    """
    until = time.monotonic() + deadline_s
    while (left := marked(variable, value)) and time.monotonic() < until:
        end(left, grace_s=grace_s)
        grace_s = 0.0
    return left


def _signal(process: psutil.Process, *, kill: bool) -> bool:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return False
    return True
