"""Let the processes of a local Airflow share their SQLite database: who wants to write waits for its turn.

Airflow loads this in each of its processes, `airflow` commands included, by the `airflow_local_settings.py` that
`include.dev.local_airflow.server` leaves in its home. Without it, `airflow backfill create`, or a backfill from the UI, fails now
and then with "database is locked" beside a scheduler at work:

* Airflow makes each run in a nested transaction. Python's sqlite3 begins none before a SAVEPOINT, so that it begins as
  a reader; when another process writes before it does, SQLite refuses it to write, at once and however patient it is
  (SQLAlchemy, "SQLite", Transactions with SQLite and the sqlite3 driver; SQLite, SQLITE_BUSY_SNAPSHOT). Here it begins
  as a writer.
* Five seconds are not enough to wait for writers on a laptop that runs Spark.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

LOCAL_SETTINGS = "from include.dev.local_airflow.sqlite import be_patient\n\nbe_patient()\n"
"""What stands in `airflow_local_settings.py`."""

WAIT_S = 60


def be_patient(engines: type[Engine] | Engine = Engine) -> None:
    """Have all engines, or one, wait for their turn to write to SQLite."""
    event.listen(engines, "connect", _wait)
    event.listen(engines, "savepoint", _begin_as_writer)


def _wait(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {WAIT_S * 1000}")


def _begin_as_writer(connection: Connection, _: str | None) -> None:
    driver = connection.connection.dbapi_connection
    if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")
