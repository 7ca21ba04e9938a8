"""How many times others' images/s the application does, and how many times were wanted: the second table.

Each of the others is compared with the application's sessions right before and right after its own: a machine is now
fast, now slow, and a session may take minutes. The others end where their images are described and the Parquet is
closed. The application goes on: it fits, projects, writes its final files and checks them. So it is compared until it
is as far as they are, and as a whole run.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.speed.report import DIRECT, PROXY, Run

COLUMNS = (
    *("(b) beside", "job", "images/s", "(b) until described", "(b) whole run"),
    *("ratio until described", "ratio of the whole run", "wanted"),
)
OWN = "(b)"
WANTED = {
    "(a)": {"first": 0.80, "second": 0.95},
    OWN: {"first": 0.90, "second": 0.90},
    "(c)": {"second": 12.0},
    "(d)": {"second": 5.0},
    "(e)": {"second": 3.0},
    "(f)": {"second": 1.4},
}
"""By candidate and job; beside (b) is itself by a proxy, without the latency that it has here."""

_Pair = tuple[Sequence[Run], Sequence[Run]]
"""Jobs of the application, and those that they are compared with."""


def ratios(runs: Sequence[Run]) -> Iterator[str]:
    """Make the lines of the table, in Markdown: medians over the repeats.

    Args:
        runs: in the order in which they were done.
    """
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|---|{'--:|' * (len(COLUMNS) - 2)}"
    for (title, job), pairs in sorted(_pairs(runs).items()):
        speeds = (
            median(_speed(theirs) for _, theirs in pairs),
            median(_describing_speed(own) for own, _ in pairs),
            median(_speed(own) for own, _ in pairs),
        )
        times = (
            median(_describing_speed(own) / _describing_speed(theirs) for own, theirs in pairs),
            median(_speed(own) / _speed(theirs) for own, theirs in pairs),
        )
        wanted = str(WANTED[_letter(title)].get(job, ""))
        cells = (title, job, *(f"{speed:,.0f}" for speed in speeds), *(f"{ratio:.2f}" for ratio in times), wanted)
        yield f"| {' | '.join(cells)} |"


def _pairs(runs: Sequence[Run]) -> dict[tuple[str, str], list[_Pair]]:
    """Find all that is compared, by the row of the table; nothing where the application did not work."""
    pairs = defaultdict(list)
    prompt = PROXY.format(0)
    for place, run in enumerate(runs):
        if _letter(run.candidate) != OWN:
            if around := _around(runs, place, DIRECT):
                pairs[run.candidate, run.job].append((around, [run]))
        elif run.way not in (DIRECT, prompt):
            title = f"{run.candidate}, {run.way} beside +0 ms"
            pairs[title, run.job].append(([run], _around(runs, place, prompt)))
    return pairs


def _around(runs: Sequence[Run], place: int, way: str) -> list[Run]:
    """Find the application's jobs of the same kind right before and right after a job, in the same repeat."""
    wanted = (OWN, way, runs[place].job, runs[place].repeat)
    before, after = (
        [one for one in some if (_letter(one.candidate), one.way, one.job, one.repeat) == wanted]
        for some in (runs[:place], runs[place:])
    )
    return before[-1:] + after[:1]


def _speed(runs: Sequence[Run]) -> float:
    return sum(run.images for run in runs) / sum(run.use.wall_s for run in runs)


def _describing_speed(runs: Sequence[Run]) -> float:
    return sum(run.images for run in runs) / sum(run.described_s or run.use.wall_s for run in runs)


def _letter(title: str) -> str:
    return title.partition(" ")[0]
