"""Many runs to one table: medians, and ratios between runs of the same repeat."""

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
"""Ways to S3: straight to the server, or by a proxy that adds so much latency to every answer."""
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
        candidate: its title.
        way: to S3, for example `+30 ms`.
        job: `first` or `later` of its session.
        repeat: in which repeat.
        images: how many.
        use: what it took.
        described_s: seconds until all images were described, where the candidate went on with them.
        turn: the same for the two jobs, one after the other, that are compared.
    """

    candidate: str
    way: str
    job: str
    repeat: int
    images: int
    use: Use
    described_s: float | None = None
    turn: int = 0

    @property
    def speed(self) -> float:
        """Images a second."""
        return self.images / self.use.wall_s

    @property
    def cpu_ms(self) -> float:
        """Processor time an image, in ms."""
        return self.use.cpu_s / self.images * 1000


def table(runs: Iterable[Run]) -> Iterator[str]:
    """Make the lines of the table, in Markdown: sorted, and all compared with the first line."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|---|---|{'--:|' * (len(COLUMNS) - 3)}"
    kinds = [list(alike) for _, alike in groupby(sorted(runs, key=_kind), _kind)]
    limits = {run.repeat: run for run in kinds[0]}
    for alike in kinds:
        yield f"| {' | '.join(_kind(alike[0]))} | {alike[0].images:,} | {_figures(alike, limits)} |"


def about(repeats: int) -> Iterator[str]:
    """Tell the machine and the versions."""
    memory_gb = psutil.virtual_memory().total / 1e9
    yield f"{_processor()}, {psutil.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} {platform.release()};"
    yield f"Python {platform.python_version()}, {', '.join(_versions(_LIBRARIES))}; medians of {repeats} repeat(s)."


def spread(ratios: Sequence[float]) -> str:
    """Give the median of ratios, and the least and the greatest where there are several."""
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _kind(run: Run) -> tuple[str, str, str]:
    return run.candidate, run.way, run.job


def _figures(alike: Sequence[Run], limits: dict[int, Run]) -> str:
    speeds = [run.speed / limits[run.repeat].speed for run in alike]
    costs = [run.cpu_ms / limits[run.repeat].cpu_ms for run in alike]
    return " | ".join(
        (
            f"{median(run.speed for run in alike):,.0f}",
            f"{median(speeds):.2f}",
            f"{median(run.cpu_ms for run in alike):.2f}",
            f"{median(costs):.2f}",
            *(f"{max(getattr(run.use, name) for run in alike):,.0f}" for name in ("driver_mb", "worker_mb", "all_mb")),
            *(f"{median(getattr(run.use, name) for run in alike):.0%}" for name in ("steal", "others")),
        )
    )


def _versions(libraries: Iterable[str]) -> Iterator[str]:
    for library in libraries:
        try:
            yield f"{library} {version(library)}"
        except PackageNotFoundError:
            continue


def _processor() -> str:
    """Name the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
