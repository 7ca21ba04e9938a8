"""Measure CPU time and memory of a process tree, and the CPU time that other processes and machines took."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from include.dev.local_aws.processes import tree

SAMPLED_EVERY_S = 0.25
_IDLE, _WAITING, _STEAL, _ALL = 3, 4, 7, 8
"""Indices in the first line of /proc/stat, and the number of its values that add up to the total time."""


@dataclass
class Use:
    """Resources used in an interval.

    Args:
        wall_s: Elapsed seconds.
        cpu_s: CPU seconds of the process tree, user and system, including ended children.
        driver_mb: Peak resident memory of the root and its JVM, in 10^6 bytes.
        worker_mb: Peak resident memory of the largest other process.
        all_mb: Peak resident memory of the tree. Shared memory counts for each process.
        steal: Share of the machine's time that the hypervisor gave to other machines, 0 to 1; 0 if unknown.
        others: Share of the machine's time that unrelated processes used, 0 to 1; 0 if unknown.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    driver_mb: float = 0.0
    worker_mb: float = 0.0
    all_mb: float = 0.0
    steal: float = 0.0
    others: float = 0.0


@contextmanager
def metered(root: psutil.Process) -> Iterator[Use]:
    """Measure a process tree during the block. The values are complete at the end of the block."""
    use, over = Use(), threading.Event()
    sampler = threading.Thread(target=_sample, args=(root, use, over))
    machine, cpu_s, start = _machine(), (_cpu_s(root), _cpu_s(psutil.Process())), time.monotonic()
    sampler.start()
    try:
        yield use
    finally:
        use.wall_s, use.cpu_s = time.monotonic() - start, _cpu_s(root) - cpu_s[0]
        stolen_s, busy_s, all_s = (after - before for before, after in zip(machine, _machine(), strict=True))
        if all_s:
            own_s = _cpu_s(psutil.Process()) - cpu_s[1]
            use.steal, use.others = stolen_s / all_s, max(0.0, busy_s - own_s) / all_s
        over.set()
        sampler.join()


def _cpu_s(root: psutil.Process) -> float:
    seconds = 0.0
    for process in tree(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _sample(root: psutil.Process, use: Use, over: threading.Event) -> None:
    """Record the peaks until the event is set."""
    while not over.wait(SAMPLED_EVERY_S):
        driver = worker = everything = 0.0
        for process in tree(root):
            with contextlib.suppress(psutil.NoSuchProcess):
                megabytes = process.memory_info().rss / 1e6
                everything += megabytes
                if process == root or process.name() == "java":
                    driver += megabytes
                else:
                    worker = max(worker, megabytes)
        use.driver_mb, use.worker_mb = max(use.driver_mb, driver), max(use.worker_mb, worker)
        use.all_mb = max(use.all_mb, everything)


def _machine() -> tuple[float, float, float]:
    """Return stolen, busy and total seconds since the start of the machine, or zeros if they are unknown."""
    counters = Path("/proc/stat")
    if not counters.exists():
        return 0.0, 0.0, 0.0
    ticks = [int(figure) for figure in counters.read_text().splitlines()[0].split()[1:]][:_ALL]
    busy = sum(ticks) - ticks[_IDLE] - ticks[_WAITING] - ticks[_STEAL]
    second = os.sysconf("SC_CLK_TCK")
    return ticks[_STEAL] / second, busy / second, sum(ticks) / second
