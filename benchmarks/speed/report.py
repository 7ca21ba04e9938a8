"""Table of all runs: medians, and ratios between runs of the same repeat."""

import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from statistics import median

import psutil

from benchmarks.speed.meter import Use

DIRECT, PROXY = "direct", "proxy +{:g} ms"
"""Connections to S3: directly to the server, or through a proxy that adds this latency to each response."""
FIRST, LATER = "first", "later"
"""Jobs of a session."""
COLUMNS = (
    *("candidate", "S3", "job", "images", "images/s", "of (a)", "CPU ms/image", "of (a)"),
    *("driver MB", "worker MB", "all MB", "steal", "others"),
)
_LIBRARIES = ("pyspark", "numpy", "opencv-python-headless", "pyarrow", "obstore")


@dataclass(frozen=True)
class Run:
    """One job of one candidate.

    Args:
        candidate: Title of the candidate.
        way: Connection to S3, for example `+30 ms`.
        job: `first` or `later` of its session.
        repeat: Number of the repeat, from 0.
        images: Number of images.
        use: Resources used.
        extracted_s: Seconds until the features of all images were extracted, if the candidate continued after that.
        turn: Number that both jobs of a comparison share.
    """

    candidate: str
    way: str
    job: str
    repeat: int
    images: int
    use: Use
    extracted_s: float | None = None
    turn: int = 0

    @property
    def speed(self) -> float:
        """Images per second."""
        return self.images / self.use.wall_s

    @property
    def cpu_ms(self) -> float:
        """CPU time per image in ms."""
        return self.use.cpu_s / self.images * 1000


def table(runs: Iterable[Run]) -> Iterator[str]:
    """Yield the lines of the sorted Markdown table. All are compared with the first line."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|---|---|{'--:|' * (len(COLUMNS) - 3)}"
    groups = [list(group) for _, group in groupby(sorted(runs, key=_row), _row)]
    limits = {run.repeat: run for run in groups[0]}
    for group in groups:
        yield f"| {' | '.join(_row(group[0]))} | {group[0].images:,} | {_figures(group, limits)} |"


def about(repeats: int) -> Iterator[str]:
    """Yield lines about the machine and the versions."""
    memory_gb = psutil.virtual_memory().total / 1e9
    yield f"{_processor()}, {psutil.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} {platform.release()};"
    yield f"Python {platform.python_version()}, {', '.join(_versions(_LIBRARIES))}; medians of {repeats} repeat(s)."


def spread(ratios: Sequence[float]) -> str:
    """Format the median of ratios, with minimum and maximum if there are several."""
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _row(run: Run) -> tuple[str, str, str]:
    return run.candidate, run.way, run.job


def _figures(runs: Sequence[Run], limits: dict[int, Run]) -> str:
    speeds = [run.speed / limits[run.repeat].speed for run in runs]
    costs = [run.cpu_ms / limits[run.repeat].cpu_ms for run in runs]
    return " | ".join(
        (
            f"{median(run.speed for run in runs):,.0f}",
            f"{median(speeds):.2f}",
            f"{median(run.cpu_ms for run in runs):.2f}",
            f"{median(costs):.2f}",
            *(f"{max(getattr(run.use, name) for run in runs):,.0f}" for name in ("driver_mb", "worker_mb", "all_mb")),
            *(f"{median(getattr(run.use, name) for run in runs):.0%}" for name in ("steal", "others")),
        )
    )


def _versions(libraries: Iterable[str]) -> Iterator[str]:
    for library in libraries:
        try:
            yield f"{library} {version(library)}"
        except PackageNotFoundError:
            continue


def _processor() -> str:
    """Return the name of the processor, if the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
