"""Which runs are old enough to be removed. Decides only; looking and removing are the task's business."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True)
class Run:
    """A run as it lies in the bucket.

    Args:
        name: its name.
        changed_at: when anything of it was last written.
        whole: whether it was published at some time; otherwise it failed, or is under way.
    """

    name: str
    changed_at: datetime
    whole: bool


@dataclass(frozen=True)
class Retention:
    """What stays.

    Args:
        days: whatever was written to within so many days; a run under way is.
        runs: of the whole runs the newest so many, however old.
    """

    days: int
    runs: int

    def old(self, runs: Iterable[Run], now: datetime, needed: frozenset[str]) -> list[str]:
        """Name the runs that may go, oldest first.

        Args:
            runs: all that there are.
            now: the time.
            needed: names of runs that stay in any case.
        """
        by_age = sorted(runs, key=lambda run: (run.changed_at, run.name))
        newest = {run.name for run in [run for run in by_age if run.whole][-self.runs :]}
        limit = now - timedelta(days=self.days)
        return [run.name for run in by_age if run.changed_at < limit and run.name not in newest | needed]
