"""The local Airflow of `make up`: `airflow standalone` with its database in one folder.

The process id and start time of the process are stored beside the database, so that only this process is stopped.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from include.dev.local_airflow.sqlite import write_local_settings
from include.dev.local_aws.processes import Identity, end, tree
from include.dev.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START_DEADLINE_S = 180
MIN_PORT, MAX_PORT = 1024, 65535
PARALLELISM = "8"
"""Tasks that may run concurrently. Airflow keeps a process for each; its default of 32 is too many for one machine."""


class LocalAirflowError(Exception):
    """Airflow could not start. The message names the cause and the remedy."""


class LocalAirflow:
    """`airflow standalone` with all its files below one folder.

    Args:
        home: `AIRFLOW_HOME`, created if missing.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "standalone.log"
        self._record = home / "standalone.json"

    def start(self, port: int, environment: Mapping[str, str]) -> str:
        """Start Airflow unless it runs, and return its URL when it is healthy.

        Args:
            port: Port of the UI on loopback, checked by `require_free`.
            environment: Environment of all its processes.

        Raises:
            LocalAirflowError: Airflow did not start. No process is left running.
        """
        if address := self.address():
            return address
        worker_logs, trigger_logs = free_ports(2)
        address = f"http://127.0.0.1:{port}"
        try:
            self._start(
                address,
                {
                    "AIRFLOW__CORE__PARALLELISM": PARALLELISM,
                    **environment,
                    "AIRFLOW_HOME": str(self.home),
                    "AIRFLOW__API__PORT": str(port),
                    # Other programs, such as another Airflow, may use the default ports of the log servers.
                    "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
                    "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
                },
            )
        except BaseException:
            self.stop()
            raise
        return address

    def address(self) -> str | None:
        """Return the URL of the running Airflow, or `None` if none runs."""
        return json.loads(self._record.read_text())[-1] if self._running() else None

    def stop(self) -> bool:
        """Stop Airflow with all its processes, and return whether it ran."""
        identity = self._running()
        if identity:
            end(tree(identity.process()), grace_s=15)
        self._record.unlink(missing_ok=True)
        return identity is not None

    def passwords(self) -> dict[str, str]:
        """Return the passwords by user, which Airflow generated."""
        passwords: dict[str, str] = json.loads((self.home / "simple_auth_manager_passwords.json.generated").read_text())
        return passwords

    def _start(self, address: str, environment: Mapping[str, str]) -> None:
        write_local_settings(self.home)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                ["airflow", "standalone"],  # noqa: S607 - from the virtual environment
                env={**environment, "AIRFLOW__API__BASE_URL": address},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,  # passwords, the database and logs are for their owner only
            )
        self._record.write_text(json.dumps([*Identity.of(process.pid), address]))
        until = time.monotonic() + START_DEADLINE_S
        while not _answers(f"{address}/api/v2/monitor/health"):
            if process.poll() is not None or time.monotonic() > until:
                raise LocalAirflowError(f"Airflow did not start; see {self.log}.")
            time.sleep(1)

    def _running(self) -> Identity | None:
        """Return the process that was started, if it still runs."""
        if not self._record.exists():
            return None
        pid, started, *_ = json.loads(self._record.read_text())
        identity = Identity(pid, started)
        return identity if identity.process() else None


def require_free(port: int) -> None:
    """Check that Airflow's UI can use a port of this machine.

    Raises:
        LocalAirflowError: The port is out of range or in use.
    """
    if not MIN_PORT <= port <= MAX_PORT:
        raise LocalAirflowError(f"Port {port} is outside {MIN_PORT} to {MAX_PORT}; choose another: `make up PORT=…`.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalAirflowError(
                f"Port {port} is not free ({error.strerror}). Stop the program that uses it, or choose another port: "
                "`make up PORT=…`."
            ) from None


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
            health = json.load(response)
    except (URLError, OSError, ValueError):
        return False
    return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))
