"""Airflow's own database for the demo, tests and the local UI: made once for each version of Airflow."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class AirflowDatabaseError(Exception):
    """The database could not be made; the message tells where the reason stands."""


def ensure_database(home: Path, environment: Mapping[str, str]) -> None:
    """Make or migrate the database below `home`, unless that is done already.

    Args:
        home: `AIRFLOW_HOME`.
        environment: of the processes to start; names the same home.

    Raises:
        AirflowDatabaseError: `airflow db migrate` failed.
    """
    done = home / f"migrated-{version('apache-airflow')}"
    if done.exists():
        return
    home.mkdir(parents=True, exist_ok=True)
    log = home / "migrate.log"
    with log.open("wb") as output:
        result = subprocess.run(
            ["airflow", "db", "migrate"],  # noqa: S607
            env=dict(environment),
            stdout=output,
            stderr=output,
            check=False,
        )
    if result.returncode:
        raise AirflowDatabaseError(f"Airflow could not make its database in {home}; the reason is in {log}.")
    done.touch()
