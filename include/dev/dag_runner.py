"""One run of the DAG by `airflow dags test`, as CI runs it, followed task by task: for the demo and for measuring."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psutil

from include.dev.local_aws.processes import end, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DAG_ID = "fruits_features"

_EVENT = re.compile(r"(Task started) |\[DAG TEST\] end task task_id=(\w+)")
_ERROR = re.compile(r"\[error *\] *(.+?)(?: \[[\w.]+\])?(?: loc=.*)?$")


class DagsTestError(Exception):
    """The run failed; the message tells why, as far as it can, and where the log is."""


def dags_test(params: Mapping[str, Any], environment: Mapping[str, str], log: Path) -> Iterator[tuple[str, float]]:
    """Run the DAG once; give each task when it ends, and the seconds since its first start: a wait may come between.

    Args:
        params: of the run.
        environment: of Airflow's process; names its home, whose database has been made.
        log: takes all that Airflow says.

    Raises:
        DagsTestError: when the run fails.
    """
    command = ["airflow", "dags", "test", DAG_ID, "--conf", json.dumps(params)]
    began = None
    errors: list[str] = []
    with log.open("w", buffering=1) as file, _open(command, environment) as process:
        try:
            for line in process.stdout or ():
                file.write(line)
                if found := _EVENT.search(line):
                    began = began or time.monotonic()
                    if task := found[2]:
                        seconds, began = time.monotonic() - began, None
                        yield task, seconds
                elif found := _ERROR.search(line):
                    errors.append(found[1])
        except BaseException:
            end(tree(psutil.Process(process.pid)), grace_s=5)
            raise
    if process.returncode:
        reason = f": {errors[0]}" if errors else ""
        raise DagsTestError(f"the run failed{reason}\nAirflow's whole log is {log}.")


def _open(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own virtual environment's
        command,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
