"""Results of a validation: checks with a name, a severity, an actual value `saw` and an expected value `wanted`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Severity(StrEnum):
    """Consequence of a check that did not pass.

    An error prevents the publication. A warning is logged. `NOT_CHECKED` means that there was nothing to check. That is
    neither a success nor a failure.
    """

    ERROR = "error"
    WARNING = "warning"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Args:
        name: Name of the check.
        passed: Whether the value is as expected.
        saw: Actual value.
        wanted: Expected value.
        severity: Consequence if it did not pass: `error`, `warning` or `not checked`.
    """

    name: str
    passed: bool
    saw: str
    wanted: str
    severity: Severity = Severity.ERROR

    @classmethod
    def equal(cls, name: str, saw: object, wanted: object) -> Check:
        """Check that a value equals the expected one."""
        return cls(name, saw == wanted, str(saw), str(wanted))

    @classmethod
    def none(cls, name: str, what: str, count: int) -> Check:
        """Check that a count is 0. `what` names the counted, for example "rows break it"."""
        return cls(name, count == 0, f"{count} {what}", "none")

    @classmethod
    def any_rows(cls, table: str, rows: int) -> Check:
        """Check that a table is not empty. Most other checks would pass on an empty table."""
        return cls(f"{table}: number of rows", rows > 0, str(rows), "at least 1")

    @classmethod
    def not_checked(cls, name: str, reason: str) -> Check:
        """Return a check that was not made. `reason` names what is missing, for example "the table is empty"."""
        return cls(name, passed=False, saw=reason, wanted="something to check", severity=Severity.NOT_CHECKED)

    @classmethod
    def at_most(cls, name: str, saw: float, limit: float, severity: Severity = Severity.ERROR) -> Check:
        """Check that a value is at most a limit. NaN fails."""
        return cls(name, bool(saw <= limit), f"{saw:.4g}", f"at most {limit:g}", severity)

    def __str__(self) -> str:
        """Return the check as a clause of a sentence."""
        return f"{self.name}: saw {self.saw}, wanted {self.wanted}"


@dataclass(frozen=True)
class ValidationReport:
    """Result of a validation.

    Args:
        counts: Number of rows by table of the run.
        categories: Number of rows of `features/` by category.
        projection: Number of components, total share of variance that they explain, and version.
        recogniser: Figures of the recogniser and of its answers by split (docs/reference/data-dictionary.md); empty if
            there is none.
        checks: All checks in order.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    categories: Mapping[str, int] = field(default_factory=dict)
    projection: Mapping[str, Any] = field(default_factory=dict)
    recogniser: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """Failed checks that prevent the publication."""
        return self._not_passed(Severity.ERROR)

    @property
    def warnings(self) -> list[Check]:
        """Failed checks that are only logged."""
        return self._not_passed(Severity.WARNING)

    @property
    def not_checked(self) -> list[Check]:
        """Checks that were not made, because there was nothing to check."""
        return self._not_passed(Severity.NOT_CHECKED)

    def _not_passed(self, severity: Severity) -> list[Check]:
        return [check for check in self.checks if not check.passed and check.severity == severity]

    def failure(self) -> str:
        """Return the failed checks with their values, as one sentence."""
        return f"{len(self.failed)} of {len(self.checks)} checks failed: " + "; ".join(map(str, self.failed)) + "."

    def as_dict(self) -> dict[str, Any]:
        """Return plain types, for an XCom and for `run.json`."""
        return {
            "counts": dict(self.counts),
            "categories": dict(self.categories),
            "projection": dict(self.projection),
            "recogniser": dict(self.recogniser),
            "checks": [asdict(check) for check in self.checks],
        }


def table(checks: Sequence[Check]) -> str:
    """Return checks as a table for a log, one per line.

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
    return "FAILED" if check.severity == Severity.ERROR else str(check.severity)
