"""How many times others' images/s the application does, and how many times were wanted: the second table.

The others end where their images are described and the Parquet is closed. The application goes on: it fits, projects,
writes its final files and checks them. So it is compared until it is as far as they are, and as a whole run.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.speed.report import DIRECT, PROXY, Run

COLUMNS = (
    *("(b) beside", "job", "images/s", "(b) until described", "(b) whole run"),
    *("ratio until described", "ratio of the whole run", "wanted"),
)
WANTED = {
    "(a)": {"first": 0.80, "second": 0.95},
    "(b)": {"first": 0.90, "second": 0.90},
    "(c)": {"second": 12.0},
    "(d)": {"second": 5.0},
    "(e)": {"second": 3.0},
    "(f)": {"second": 1.4},
}
"""By candidate and job; beside (b) is itself by a proxy, without the latency that it has here."""


def ratios(runs: Sequence[Run]) -> Iterator[str]:
    """Make the lines of the table, in Markdown: medians of ratios between runs of the same repeat."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|---|{'--:|' * (len(COLUMNS) - 2)}"
    for (title, job), pairs in sorted(_pairs(runs).items()):
        speeds = (
            median(theirs.speed for _, theirs in pairs),
            median(own.describing_speed for own, _ in pairs),
            median(own.speed for own, _ in pairs),
        )
        times = (
            median(own.describing_speed / theirs.describing_speed for own, theirs in pairs),
            median(own.speed / theirs.speed for own, theirs in pairs),
        )
        wanted = WANTED[_letter(title)].get(job, "")
        cells = (title, job, *(f"{speed:,.0f}" for speed in speeds), *(f"{ratio:.2f}" for ratio in times), str(wanted))
        yield f"| {' | '.join(cells)} |"


def _pairs(runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[Run, Run]]]:
    """Pair the application's runs with what they are compared with, by the row of the table."""
    own = {(run.way, run.job, run.repeat): run for run in runs if _letter(run.candidate) == "(b)"}
    pairs = defaultdict(list)
    for run in runs:
        is_own, at_once = _letter(run.candidate) == "(b)", PROXY.format(0)
        if is_own and run.way not in (DIRECT, at_once):
            pairs[f"{run.candidate}, {run.way} beside +0 ms", run.job].append((run, own[at_once, run.job, run.repeat]))
        elif not is_own and run.way == DIRECT and own:
            pairs[run.candidate, run.job].append((own[DIRECT, run.job, run.repeat], run))
    return pairs


def _letter(title: str) -> str:
    return title.partition(" ")[0]
