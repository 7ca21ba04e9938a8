from datetime import UTC, datetime, timedelta

from include.publication.retention import Retention, Run

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def _run(name: str, days: float, *, published: bool = True) -> Run:
    return Run(name, NOW - timedelta(days=days), published)


def _expired(*runs: Run, days: int = 7, newest: int = 1, needed: tuple[str, ...] = ()) -> list[str]:
    return Retention(days, newest).expired(runs, NOW, frozenset(needed))


def test_runs_older_than_the_limit_go_oldest_first() -> None:
    assert _expired(_run("a", 9), _run("b", 10), _run("c", 6.9), _run("d", 1)) == ["b", "a"]


def test_run_of_exactly_the_limit_stays() -> None:
    assert _expired(_run("a", 7), _run("b", 1), days=7) == []


def test_newest_published_runs_stay_however_expired() -> None:
    runs = [_run("c", 30), _run("a", 20), _run("b", 10), _run("failed", 9, published=False)]

    assert _expired(*runs, newest=2) == ["c", "failed"]


def test_needed_runs_stay_however_expired() -> None:
    assert _expired(_run("published", 30), _run("b", 20), _run("c", 1), needed=("published",)) == ["b"]


def test_active_run_stays() -> None:
    assert _expired(_run("under way", 0.1, published=False), _run("failed", 8, published=False)) == ["failed"]
