"""Two processes share an SQLite database, and none fails because it is locked."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from include.dev.local_airflow.sqlite import LOCAL_SETTINGS, wait_for_writers, write_local_settings

if TYPE_CHECKING:
    from pathlib import Path

INSERT = text("INSERT INTO run VALUES (1)")
COUNT = text("SELECT count(*) FROM run")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{tmp_path}/airflow.db")
    with engine.begin() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        connection.execute(text("CREATE TABLE run (id INTEGER)"))
    return engine


def _write_between(engine: Engine, *, within_s: float | None = None) -> None:
    """Read in a nested transaction, let another connection write, and write.

    Args:
        engine: Database.
        within_s: Time for the other connection to write. It may have to wait for this one. Unset: until it has written.
    """
    other = threading.Thread(target=_write, args=(engine,))
    with engine.connect() as connection, connection.begin(), connection.begin_nested():
        connection.execute(COUNT)
        other.start()
        other.join(within_s)
        connection.execute(INSERT)
    other.join()


def _write(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(INSERT)


def test_nested_transaction_writes_beside_another_writer(engine: Engine) -> None:
    wait_for_writers(engine)

    _write_between(engine, within_s=0.5)

    with engine.connect() as connection:
        assert connection.execute(COUNT).scalar() == 2


def test_nested_transaction_of_sqlalchemy_alone_fails_on_the_locked_database(engine: Engine) -> None:
    with pytest.raises(OperationalError, match="database is locked"):
        _write_between(engine)


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (None, LOCAL_SETTINGS),
        ("from include.airflow_sqlite import be_patient\n\nbe_patient()\n", LOCAL_SETTINGS),
        ("STATE_COLORS = {}\n", "STATE_COLORS = {}\n"),
    ],
    ids=["none", "of an earlier version", "of the user"],
)
def test_local_settings_replace_only_those_of_earlier_versions(
    tmp_path: Path, existing: str | None, expected: str
) -> None:
    file = tmp_path / "config" / "airflow_local_settings.py"
    if existing is not None:
        file.parent.mkdir()
        file.write_text(existing)

    write_local_settings(tmp_path)

    assert file.read_text() == expected
