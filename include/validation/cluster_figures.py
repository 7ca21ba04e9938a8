"""Figures that a cluster has computed, compared with the run's files.

Airflow does not read all rows again. It compares the names, sizes and numbers of rows of all files, from their listing
and footers. It measures some files itself, drawn by the run's name, and compares what it counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from include.draws import choose
from include.validation import accounting
from include.validation.checks import Check
from include.validation.figures import Figures, UnreadableFiguresError, from_bytes
from include.validation.table_rules import TableCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fruits_features.recogniser.model import Recogniser
    from include.validation.measure import Subject

DRAWN_FILES = 3
"""Number of files of `features/` that are measured again, up to 768 MB."""

READABLE = "cluster: figures can be read"
OF_FILES = "cluster: figures are of this run's files"
ALL_ROWS = "cluster: all rows were read"
AGAIN = "cluster: files measured again have the same counts"
LABELS = "cluster: rows of these files are in the inventory with their labels"


@dataclass(frozen=True)
class Measured:
    """Figures of a cluster, and the checks whether they belong to the run.

    Args:
        checks: Result of the comparison.
        figures: The figures, with the sample of the files measured again; `None` if they cannot be read.
        has_paired: Whether they compare the recogniser with the one that is published now.
    """

    checks: tuple[Check, ...]
    figures: Figures | None = None
    has_paired: bool = False


def about(subject: Subject) -> dict[str, Any]:
    """Return what figures are computed from, as JSON: files with sizes, projection and recognisers."""
    tables = ("inventory", "features", "quarantine")
    return {
        "files": {name: getattr(subject.files, name).sizes for name in tables},
        "projection": subject.projection.version,
        "recogniser": _fingerprint(subject.recogniser),
        "published": _fingerprint(subject.paired.before if subject.paired else None),
    }


def compare(stored: bytes, subject: Subject) -> Measured:
    """Compare stored figures with the run's files.

    Args:
        stored: Figures and their origin, as from `Figures.to_bytes`.
        subject: The run.
    """
    try:
        figures, origin = from_bytes(stored)
    except UnreadableFiguresError as error:
        return Measured((Check(READABLE, passed=False, saw=str(error), wanted="figures"),))
    expected = about(subject)
    drawn = choose(expected["files"]["features"], DRAWN_FILES, subject.arguments.run)
    tasks = [task for task in subject.tasks("features") if task.name in drawn]
    again = subject.measure_tasks(tasks)  # what is compared does not depend on the split
    checks = (
        Check(READABLE, passed=True, saw="figures", wanted="figures"),
        _origin_check(origin, expected),
        _rows_check(figures, subject),
        _again_check(figures, again),
        *(() if again.unreadable else [_labels_check(subject, list(again.files))]),
    )
    has_paired = origin.get("published") == expected["published"]
    unreadable = figures.unreadable + again.unreadable
    return Measured(checks, replace(figures, sample=again.sample, unreadable=unreadable), has_paired)


def _fingerprint(recogniser: Recogniser | None) -> str | None:
    """Return a hash of everything that the answers of a recogniser depend on."""
    if recogniser is None:
        return None
    digest = sha256("\0".join([recogniser.projection, *recogniser.categories]).encode())
    for numbers in (recogniser.weights, recogniser.bias):
        digest.update(numbers.astype("<f8").tobytes())
    return digest.hexdigest()


def _origin_check(origin: Mapping[str, Any], expected: Mapping[str, Any]) -> Check:
    """Check files, projection and recogniser. Another run may have been published since."""
    different = [name for name in ("projection", "recogniser") if origin.get(name) != expected[name]]
    different += [
        f"{table}/" for table, sizes in expected["files"].items() if origin.get("files", {}).get(table) != sizes
    ]
    return Check(OF_FILES, not different, f"others: {', '.join(different)}" if different else "the same", "the same")


def _rows_check(figures: Figures, subject: Subject) -> Check:
    saw, wanted = {}, {}
    for name in subject.rules:
        saw[name] = figures.tables.get(name, TableCounts()).rows
        wanted[name] = getattr(subject.files, name).rows
    return Check.equal(ALL_ROWS, _counts(saw), _counts(wanted))


def _counts(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in rows.items())


def _again_check(figures: Figures, again: Figures) -> Check:
    """Check that measured files have the counts of the figures, and that the sums contain them."""
    different = [name for name, digest in again.files.items() if figures.files.get(name) != digest]
    missing = list(_missing(figures, again))
    saw = f"{len(different)} of {len(again.files)} differ ({', '.join(again.files)})"
    saw += f"; the sums lack {', '.join(missing)}" if missing else ""
    return Check(AGAIN, not different and not missing, saw, "none")


def _labels_check(subject: Subject, drawn: Sequence[str]) -> Check:
    """Check that the rows of the drawn files are in the inventory, with their split and category."""
    return Check.none(LABELS, "rows differ", accounting.count_errors_of(subject.files, drawn))


def _missing(figures: Figures, again: Figures) -> Iterator[str]:
    """Yield the names of sums that are smaller than those of some of the files alone."""
    table = "features"
    one, other = (of.tables.get(table, TableCounts()).violations for of in (figures, again))
    yield from (f"rows that break {name!r}" for name in other - one)
    if again.images - figures.images:
        yield "images"
    if again.vectors.not_projected > figures.vectors.not_projected:
        yield "rows that are not projected"
    answers, counted = (Counter({name: counts.known for name, counts in of.answers.items()}) for of in (figures, again))
    if counted - answers:
        yield "answers"
