"""How many times others' images/s the application does, and how many times were wanted: the second table.

Jobs are compared in pairs: the application's with another's right before or after it, since a machine is now fast, now
slow. The others end where their images are described and the Parquet is closed. The application goes on: it fits,
projects, writes its final files and checks them. So it is compared until it is as far as they are, and as a whole run.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import median

from benchmarks.speed.report import FIRST, LATER, PROXY, Run, spread

COLUMNS = (
    *("(b) beside", "job", "pairs", "images/s", "(b) until described", "(b) whole run"),
    *("ratio until described", "ratio of the whole run", "wanted"),
)
LIMIT, OWN = "(a)", "(b)"
WANTED = {
    LIMIT: {FIRST: 0.80, LATER: 0.95},
    OWN: {FIRST: 0.90, LATER: 0.90},
    "(c)": {LATER: 12.0},
    "(d)": {LATER: 5.0},
    "(e)": {LATER: 3.0},
    "(f)": {LATER: 1.4},
}
"""By candidate and job; beside (b) is itself by a proxy, without the latency that it has here."""


def ratios(runs: Iterable[Run]) -> Iterator[str]:
    """Make the lines of the table, in Markdown: medians over the pairs, and the least and the greatest."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|---|{'--:|' * (len(COLUMNS) - 2)}"
    for (title, job), pairs in sorted(_pairs(runs).items()):
        speeds = (
            median(theirs.speed for _, theirs in pairs),
            median(_describing_speed(own) for own, _ in pairs),
            median(own.speed for own, _ in pairs),
        )
        described = [_describing_speed(own) / _describing_speed(theirs) for own, theirs in pairs]
        whole = [own.speed / theirs.speed for own, theirs in pairs]
        cells = (
            title,
            job,
            str(len(pairs)),
            *(f"{speed:,.0f}" for speed in speeds),
            spread(described),
            spread(whole),
        )
        yield f"| {' | '.join(cells)} | {WANTED.get(letter(title), {}).get(job, '')} |"


def letter(title: str) -> str:
    """Tell a candidate's letter by its title."""
    return title.partition(" ")[0]


def _pairs(runs: Iterable[Run]) -> dict[tuple[str, str], list[tuple[Run, Run]]]:
    """Find the pairs by the row of the table: the application's job first, that behind the late server if both are."""
    turns = defaultdict(list)
    for run in runs:
        turns[run.turn].append(run)
    pairs = defaultdict(list)
    for both in turns.values():
        own, theirs = sorted(both, key=lambda run: (letter(run.candidate) != OWN, run.way == PROXY.format(0)))
        title = theirs.candidate if theirs.way == own.way else f"{own.candidate}, {own.way} beside +0 ms"
        pairs[title, own.job].append((own, theirs))
    return pairs


def _describing_speed(run: Run) -> float:
    return run.images / (run.described_s or run.use.wall_s)
