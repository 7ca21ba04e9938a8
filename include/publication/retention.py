"""Select the runs that retention removes. The caller lists and deletes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True)
class Run:
    """A run in the bucket.

    Args:
        name: Name of the run.
        changed_at: Time of the last write to one of its objects.
        published: Whether it was ever published. Otherwise it failed or still runs.
    """

    name: str
    changed_at: datetime
    published: bool


@dataclass(frozen=True)
class Retention:
    """Rules that keep runs.

    Args:
        days: Runs modified within this many days are kept, which includes active runs.
        runs: This many of the newest published runs are kept, regardless of age.
    """

    days: int
    runs: int

    def expired(self, runs: Iterable[Run], now: datetime, needed: frozenset[str]) -> list[str]:
        """Return the names of the runs to remove, oldest first.

        Args:
            runs: All runs in the bucket.
            now: Current time.
            needed: Names of runs to keep in any case.
        """
        by_age = sorted(runs, key=lambda run: (run.changed_at, run.name))
        newest = {run.name for run in [run for run in by_age if run.published][-self.runs :]}
        limit = now - timedelta(days=self.days)
        return [run.name for run in by_age if run.changed_at < limit and run.name not in newest | needed]
