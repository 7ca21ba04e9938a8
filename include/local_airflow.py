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

from include.local_aws.errors import LocalAwsError
from include.local_aws.local import LocalAws
from include.local_aws.processes import Identity, end, tree

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
AWS_STATE = ROOT / ".local" / "aws"
HOME = ROOT / ".local" / "airflow"
RECORD = HOME / "standalone.json"
LOG = HOME / "standalone.log"
PASSWORDS = HOME / "simple_auth_manager_passwords.json.generated"
START_DEADLINE_S = 180


class LocalAirflowError(Exception):
    """Airflow does not come up; the message says why and what to do."""


def main(argv: list[str] | None = None) -> int:
    """Start or stop; the exit code tells whether that went well."""
    parser = argparse.ArgumentParser(prog="python -m include.local_airflow", description=__doc__)
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


def start(port: int) -> None:
    """Start both, wait until the UI answers, and say where it is.

    Raises:
        LocalAirflowError: the port is taken, or Airflow does not come up; then nothing is left running.
        LocalAwsError: the local AWS does not come up.
    """
    address = f"http://127.0.0.1:{port}"
    if _standalone() is None:
        _require_free(port)
        aws = LocalAws(AWS_STATE)
        if not aws.running():
            aws.start()
        try:
            _start_airflow(port, os.environ | aws.environment, address)
        except BaseException:
            stop()
            raise
    print(f"Airflow's UI: {address}   {_login()}")
    print(f"Local AWS:    source {(AWS_STATE / 'environment.sh').relative_to(ROOT)}")
    print("Stop both with `make down`.")


def stop() -> None:
    """Stop what `start` started; done already is done."""
    airflow = _standalone()
    if airflow is not None:
        end(tree(airflow.process()), grace_s=15)
    RECORD.unlink(missing_ok=True)
    aws_stopped = LocalAws(AWS_STATE).stop()
    print("Stopped." if airflow or aws_stopped else "Nothing was running.")


def _start_airflow(port: int, environment: Mapping[str, str], address: str) -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    environment = {**environment, "AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": address}
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            ["airflow", "standalone"],  # noqa: S607 - our own virtual environment's
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    RECORD.write_text(json.dumps(Identity.of(process.pid)))
    print("Starting Airflow …", flush=True)
    until = time.monotonic() + START_DEADLINE_S
    while not _answers(f"{address}/api/v2/monitor/health"):
        if process.poll() is not None or time.monotonic() > until:
            raise LocalAirflowError(f"Airflow did not come up; the reason is in {LOG}.")
        time.sleep(1)


def _standalone() -> Identity | None:
    """The Airflow that was started and still runs."""
    if not RECORD.exists():
        return None
    identity = Identity(*json.loads(RECORD.read_text()))
    return identity if identity.process() else None


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


def _login() -> str:
    passwords: dict[str, str] = json.loads(PASSWORDS.read_text())
    return "   ".join(f"user {user}, password {password}" for user, password in passwords.items())


if __name__ == "__main__":
    sys.exit(main())
