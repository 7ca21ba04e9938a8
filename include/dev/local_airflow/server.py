"""`make up` and `make down`: the local AWS and Airflow's UI, started together and stopped together.

Airflow is `airflow standalone` with its database below `.local/airflow`. Only what `start` started is stopped, told by
process id and start time, which are kept beside the database.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from include.dev.local_airflow.sqlite import LOCAL_SETTINGS
from include.dev.local_aws.deployment import deploy
from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.processes import Identity, end, tree

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[3]
AWS_STATE = ROOT / ".local" / "aws"
HOME = ROOT / ".local" / "airflow"
START_DEADLINE_S = 180
PARALLELISM = "8"
"""Airflow keeps a process for each task that may run at once; its default of 32 are many for one machine."""


class LocalAirflowError(Exception):
    """Airflow does not come up; the message says why and what to do."""


def main(argv: list[str] | None = None) -> int:
    """Start or stop; the exit code tells whether that went well."""
    parser = argparse.ArgumentParser(prog="python -m include.dev.local_airflow.server", description=__doc__)
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--port", type=int, default=8080, help="of Airflow's UI (default %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        if arguments.action == "start":
            start(arguments.port)
        else:
            stop()
    except (LocalAirflowError, LocalAwsError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        stop()
        return 130
    return 0


class LocalAirflow:
    """`airflow standalone` with everything it keeps below one folder.

    Args:
        home: `AIRFLOW_HOME`; made where it is missing.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "standalone.log"
        self._record = home / "standalone.json"

    def start(self, port: int, environment: Mapping[str, str]) -> str:
        """Start it, and return its address when it is ready; it is there already when it runs.

        Args:
            port: of the UI, on loopback.
            environment: of all its processes.

        Raises:
            LocalAirflowError: the port is taken, or Airflow does not come up; then nothing is left running.
        """
        address = f"http://127.0.0.1:{port}"
        if self._running() is None:
            _require_free(port)
            try:
                self._start(
                    address,
                    {
                        "AIRFLOW__CORE__PARALLELISM": PARALLELISM,
                        **environment,
                        "AIRFLOW_HOME": str(self.home),
                        "AIRFLOW__API__PORT": str(port),
                    },
                )
            except BaseException:
                self.stop()
                raise
        return address

    def stop(self) -> bool:
        """Stop it with all its processes; tell whether it ran."""
        identity = self._running()
        if identity:
            end(tree(identity.process()), grace_s=15)
        self._record.unlink(missing_ok=True)
        return identity is not None

    def passwords(self) -> dict[str, str]:
        """Tell each user's password, which Airflow has generated."""
        passwords: dict[str, str] = json.loads((self.home / "simple_auth_manager_passwords.json.generated").read_text())
        return passwords

    def _start(self, address: str, environment: Mapping[str, str]) -> None:
        settings = self.home / "config" / "airflow_local_settings.py"
        settings.parent.mkdir(parents=True, exist_ok=True)
        if not settings.exists():
            settings.write_text(LOCAL_SETTINGS)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                ["airflow", "standalone"],  # noqa: S607 - our own virtual environment's
                env={**environment, "AIRFLOW__API__BASE_URL": address},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._record.write_text(json.dumps(Identity.of(process.pid)))
        until = time.monotonic() + START_DEADLINE_S
        while not _answers(f"{address}/api/v2/monitor/health"):
            if process.poll() is not None or time.monotonic() > until:
                raise LocalAirflowError(f"Airflow did not come up; the reason is in {self.log}.")
            time.sleep(1)

    def _running(self) -> Identity | None:
        """The process that was started and still runs."""
        if not self._record.exists():
            return None
        identity = Identity(*json.loads(self._record.read_text()))
        return identity if identity.process() else None


def start(port: int) -> None:
    """Start both, wait until the UI answers, and say where it is.

    Raises:
        LocalAirflowError: the port is taken, or Airflow does not come up; then nothing is left running.
        LocalAwsError: the local AWS does not come up.
    """
    aws, airflow = LocalAws(AWS_STATE), LocalAirflow(HOME)
    was_running = aws.running()
    if not was_running:
        aws.start()
    print("Starting Airflow …", flush=True)
    try:
        deploy(aws.s3())
        address = airflow.start(port, os.environ | aws.environment)
    except BaseException:
        if not was_running:
            aws.stop()
        raise
    login = "   ".join(f"user {user}, password {password}" for user, password in airflow.passwords().items())
    print(f"Airflow's UI: {address}   {login}")
    print(f"Local AWS:    source {(AWS_STATE / 'environment.sh').relative_to(ROOT)}")
    print("Stop both with `make down`.")


def stop() -> None:
    """Stop what `start` started; done already is done."""
    stopped = LocalAirflow(HOME).stop()
    stopped |= LocalAws(AWS_STATE).stop()
    print("Stopped." if stopped else "Nothing was running.")


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalAirflowError(
                f"Port {port} is not free ({error.strerror}): stop what uses it, or choose another: `make up PORT=…`."
            ) from None


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            health = json.load(response)
    except (URLError, OSError, ValueError):
        return False
    return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


if __name__ == "__main__":
    sys.exit(main())
