"""What a validation answers: checks, each with a name, a severity, what it saw and what it wanted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Severity(StrEnum):
    """What a failed check means: an error keeps the run from being published, a warning is told."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Check:
    """One question asked of a run, and its answer."""

    name: str
    passed: bool
    saw: str
    wanted: str
    severity: Severity = Severity.ERROR

    @classmethod
    def equal(cls, name: str, saw: object, wanted: object) -> Check:
        """Ask for one exact figure."""
        return cls(name, saw == wanted, str(saw), str(wanted))

    @classmethod
    def none(cls, name: str, what: str, count: int) -> Check:
        """Ask that something does not occur, such as "rows break it"."""
        return cls(name, count == 0, f"{count} {what}", "none")

    @classmethod
    def at_most(cls, name: str, saw: float, limit: float, severity: Severity = Severity.ERROR) -> Check:
        """Ask for a figure up to a limit; what is not a number fails."""
        return cls(name, bool(saw <= limit), f"{saw:.4g}", f"at most {limit:g}", severity)

    def __str__(self) -> str:
        """The check as one clause of a sentence."""
        return f"{self.name}: saw {self.saw}, wanted {self.wanted}"


@dataclass(frozen=True)
class Report:
    """Everything a validation found.

    Args:
        counts: rows of each of the run's tables.
        categories: how many images of each category were described.
        projection: number of components and the variance that they explain together.
        checks: all that were asked, in order.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    categories: Mapping[str, int] = field(default_factory=dict)
    projection: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """The checks that keep the run from being published."""
        return [check for check in self.checks if not check.passed and check.severity == Severity.ERROR]

    @property
    def warnings(self) -> list[Check]:
        """The checks that did not pass and are only told."""
        return [check for check in self.checks if not check.passed and check.severity == Severity.WARNING]

    def failure(self) -> str:
        """The failed checks with their figures, as one sentence."""
        return f"{len(self.failed)} of {len(self.checks)} checks failed: " + "; ".join(map(str, self.failed)) + "."

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for an XCom and for `run.json`."""
        return {
            "counts": dict(self.counts),
            "categories": dict(self.categories),
            "projection": dict(self.projection),
            "checks": [asdict(check) for check in self.checks],
        }


def table(checks: Sequence[Check]) -> str:
    """Lay checks out in columns, one a line, for a log.

    >>> print(table([Check.equal("rows", 3, 4)]))
    result   check   saw   wanted
    FAILED   rows    3     4
    """
    rows = [("result", "check", "saw", "wanted")]
    rows += [(_result(check), check.name, check.saw, check.wanted) for check in checks]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _result(check: Check) -> str:
    if check.passed:
        return "passed"
    return "FAILED" if check.severity == Severity.ERROR else "warning"
