"""Ratios of the application's images/s to those of the other candidates, with targets: the second table.

A job of the application is compared with the job of another candidate right before or after it, because the speed of a
machine varies. The other candidates end when the features are extracted and the Parquet is closed. The application
then fits, projects, writes its final files and checks them. It is therefore compared both until the features are
extracted and as a complete run.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import median

from benchmarks.speed.report import FIRST, LATER, PROXY, Run, spread

COLUMNS = (
    *("(b) beside", "job", "pairs", "images/s", "(b) until extracted", "(b) complete run"),
    *("ratio until extracted", "ratio of the complete run", "target"),
)
LIMIT, OWN = "(a)", "(b)"
TARGETS = {
    LIMIT: {FIRST: 0.80, LATER: 0.95},
    OWN: {FIRST: 0.90, LATER: 0.90},
    "(c)": {LATER: 12.0},
    "(d)": {LATER: 5.0},
    "(e)": {LATER: 3.0},
    "(f)": {LATER: 1.4},
}
"""Target ratios by candidate and job. (b) is compared with itself behind a proxy without latency."""


def ratios(runs: Iterable[Run]) -> Iterator[str]:
    """Yield the lines of the Markdown table, with median, minimum and maximum over the pairs."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|---|---|{'--:|' * (len(COLUMNS) - 2)}"
    for (title, job), pairs in sorted(_pairs(runs).items()):
        speeds = (
            median(theirs.speed for _, theirs in pairs),
            median(_extraction_speed(own) for own, _ in pairs),
            median(own.speed for own, _ in pairs),
        )
        extraction = [_extraction_speed(own) / _extraction_speed(theirs) for own, theirs in pairs]
        complete = [own.speed / theirs.speed for own, theirs in pairs]
        cells = (
            title,
            job,
            str(len(pairs)),
            *(f"{speed:,.0f}" for speed in speeds),
            spread(extraction),
            spread(complete),
        )
        yield f"| {' | '.join(cells)} | {TARGETS.get(letter(title), {}).get(job, '')} |"


def letter(title: str) -> str:
    """Return a candidate's letter from its title."""
    return title.partition(" ")[0]


def _pairs(runs: Iterable[Run]) -> dict[tuple[str, str], list[tuple[Run, Run]]]:
    """Return the pairs by row of the table. The application's job is the first, or the one with latency."""
    turns = defaultdict(list)
    for run in runs:
        turns[run.turn].append(run)
    pairs = defaultdict(list)
    for both in turns.values():
        own, theirs = sorted(both, key=lambda run: (letter(run.candidate) != OWN, run.way == PROXY.format(0)))
        title = theirs.candidate if theirs.way == own.way else f"{own.candidate}, {own.way} beside +0 ms"
        pairs[title, own.job].append((own, theirs))
    return pairs


def _extraction_speed(run: Run) -> float:
    return run.images / (run.extracted_s or run.use.wall_s)
