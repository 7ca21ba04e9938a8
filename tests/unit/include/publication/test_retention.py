from datetime import UTC, datetime, timedelta

from include.publication.retention import Retention, Run

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def _run(name: str, days: float, *, whole: bool = True) -> Run:
    return Run(name, NOW - timedelta(days=days), whole)


def _old(*runs: Run, days: int = 7, newest: int = 1, needed: tuple[str, ...] = ()) -> list[str]:
    return Retention(days, newest).old(runs, NOW, frozenset(needed))


def test_runs_older_than_the_limit_go_oldest_first() -> None:
    assert _old(_run("b", 9), _run("a", 10), _run("c", 6.9), _run("d", 1)) == ["a", "b"]


def test_newest_whole_runs_stay_however_old() -> None:
    runs = [_run("a", 30), _run("b", 20), _run("c", 10), _run("failed", 9, whole=False)]

    assert _old(*runs, newest=2) == ["a", "failed"]


def test_needed_runs_stay_however_old() -> None:
    assert _old(_run("published", 30), _run("b", 20), _run("c", 1), needed=("published",)) == ["b"]


def test_run_under_way_stays() -> None:
    assert _old(_run("under way", 0.1, whole=False), _run("failed", 8, whole=False)) == ["failed"]
