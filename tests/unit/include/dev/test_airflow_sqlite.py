"""Two processes share an SQLite database: neither is told that it is locked."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from include.dev.local_airflow.sqlite import be_patient

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


def _write_between(engine: Engine) -> None:
    """Read in a nested transaction, let somebody else write, and write."""
    other = threading.Thread(target=_write, args=(engine,))
    with engine.connect() as connection, connection.begin(), connection.begin_nested():
        connection.execute(COUNT)
        other.start()
        other.join(0.5)
        connection.execute(INSERT)
    other.join()


def _write(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(INSERT)


def test_nested_transaction_writes_though_another_wants_to_in_between(engine: Engine) -> None:
    be_patient(engine)

    _write_between(engine)

    with engine.connect() as connection:
        assert connection.execute(COUNT).scalar() == 2


def test_nested_transaction_of_sqlalchemy_alone_is_told_that_the_database_is_locked(engine: Engine) -> None:
    with pytest.raises(OperationalError, match="database is locked"):
        _write_between(engine)
