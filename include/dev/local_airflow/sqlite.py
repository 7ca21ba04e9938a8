"""Make the processes of a local Airflow wait for each other when they write to their SQLite database.

Airflow loads this module in each of its processes, through the `airflow_local_settings.py` that `write_local_settings`
writes. Without it, `airflow backfill create` and backfills from the UI sometimes fail with "database is locked" while
the scheduler works:

* Airflow creates each run in a nested transaction. Python's sqlite3 does not begin a transaction before a SAVEPOINT, so
  that SQLite begins one as a reader. If another process writes before this reader does, SQLite rejects its write
  immediately, regardless of the timeout (SQLAlchemy, "SQLite", Transactions with SQLite and the sqlite3 driver; SQLite,
  SQLITE_BUSY_SNAPSHOT). Here the transaction begins as a writer.
* The default timeout of five seconds is too short on a laptop that runs Spark.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection

LOCAL_SETTINGS = "from include.dev.local_airflow.sqlite import wait_for_writers\n\nwait_for_writers()\n"
"""Content of `airflow_local_settings.py`."""

_EARLIER_SETTINGS = "from include.airflow_sqlite import be_patient\n\nbe_patient()\n"
"""Content of the file in version 1, whose import fails now."""

TIMEOUT_S = 60
"""Seconds to wait for the lock of another writer."""


def write_local_settings(home: Path) -> None:
    """Write `airflow_local_settings.py` below `AIRFLOW_HOME`, unless the user has one."""
    file = home / "config" / "airflow_local_settings.py"
    if file.exists() and file.read_text(encoding="utf-8") != _EARLIER_SETTINGS:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(LOCAL_SETTINGS, encoding="utf-8")


def wait_for_writers(engines: type[Engine] | Engine = Engine) -> None:
    """Make all engines, or one, wait for the lock of other writers to SQLite."""
    event.listen(engines, "connect", _set_timeout)
    event.listen(engines, "savepoint", _begin_as_writer)


def _set_timeout(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {TIMEOUT_S * 1000}")


def _begin_as_writer(connection: Connection, _: str | None) -> None:
    driver = connection.connection.dbapi_connection
    if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")
