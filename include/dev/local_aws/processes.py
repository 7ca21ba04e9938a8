"""Find and end processes reliably: by identity, by process tree and by a mark in their environment.

The system reuses process ids, so a process is identified by its id *and* its start time. A process tree is not enough
to find all processes of a step: a grandchild may leave its session, or lose its parent and become a child of process 1.
Each process that local AWS starts therefore carries a mark in its environment. Children inherit it, and it can be read
from any process of the same user on Linux and macOS.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "FRUITS_LOCAL_AWS"
"""Environment variable with the id of one `start` of local AWS."""

CLUSTER_MARK = "FRUITS_LOCAL_AWS_CLUSTER"
"""Environment variable with the cluster's id."""

SAME_START_S = 2.0
"""Tolerance in seconds when start times are compared. They vary on macOS and after clock corrections."""


class Identity(NamedTuple):
    """Identity of a process. A reused id has another start time."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Return the identity of a running process.

        Raises:
            psutil.NoSuchProcess: There is no such process.
        """
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs, or `None` if it ended or its id was reused."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Return the running processes with this value of the environment variable.

    Processes of other users and processes that are just ending are ignored, because their environment is not readable.
    """
    matching = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(variable) == value:
                matching.append(process)
    return matching


def tree(root: psutil.Process | None) -> list[psutil.Process]:
    """Return a process and all its descendants, or an empty list if it has ended."""
    if root is None:
        return []
    try:
        return [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return []


def end(processes: Iterable[psutil.Process], *, grace_s: float) -> None:
    """Send SIGTERM to processes, and SIGKILL to those that still run after `grace_s` seconds."""
    signalled = [process for process in processes if _signal(process, kill=grace_s <= 0)]
    _, alive = psutil.wait_procs(signalled, timeout=max(grace_s, 1.0))
    for process in alive:
        _signal(process, kill=True)
    psutil.wait_procs(alive, timeout=5)


def end_marked(variable: str, value: str, *, grace_s: float = 0.0, deadline_s: float = 20.0) -> list[psutil.Process]:
    """End all processes that carry the mark.

    The processes are scanned repeatedly, because a process may fork between the scan and the signal.

    Args:
        variable: Name of the environment variable.
        value: Value of the environment variable.
        grace_s: Seconds between SIGTERM and SIGKILL; 0 sends SIGKILL immediately.
        deadline_s: Seconds after which to give up.

    Returns:
        Processes that could not be ended. Empty unless the kernel blocks a process.
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
