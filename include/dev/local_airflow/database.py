"""Create Airflow's database for the demo, the tests and the local UI, once per version of Airflow."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class AirflowDatabaseError(Exception):
    """The database could not be created. The message names the log."""


def ensure_database(home: Path, environment: Mapping[str, str]) -> None:
    """Create or migrate the database below `home`, unless this version of Airflow has done so.

    Args:
        home: `AIRFLOW_HOME`.
        environment: Environment of Airflow's processes, with the same `AIRFLOW_HOME`.

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
        raise AirflowDatabaseError(f"Airflow could not create its database in {home}; see {log}.")
    done.touch()
