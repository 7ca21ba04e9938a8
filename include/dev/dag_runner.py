"""Run the DAG with `airflow dags test`, as CI does, and follow its tasks. The demo and benchmarks use this module."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

import psutil

from include.dev.local_aws.processes import end, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DAG_ID = "fruits_features"

CLOSING_S = 60.0
"""Seconds that an interrupted Airflow has to close its run."""

_EVENT = re.compile(r"Task started |new_state=(skipped) |\[DAG TEST\] end task task_id=(\w+)")
_ERROR = re.compile(r"\[error *\] *(.+?)(?: +\[[\w.]+\](?: \w+=.*)?)?$", re.MULTILINE)
_ENTRY = re.compile(r"^(?=\S+ \[\w+ *\] )", re.MULTILINE)
"""Start of an entry of Airflow's log. A message or a traceback may take several lines."""
_TASK_FAILED = "Task failed with exception"
_RAISED = re.compile(r'^  File ".*\n(?: .*\n)*(\S+?)(?:: (.*))?$', re.MULTILINE)
"""Class and first line of the message after the frames of a traceback."""


class DagsTestError(Exception):
    """The run failed. The message holds the reason, if it is known, and the path of the log."""


def dags_test(params: Mapping[str, Any], environment: Mapping[str, str], log: Path) -> Iterator[tuple[str, float]]:
    """Run the DAG once, and yield each task when it ends with the seconds since its first start.

    The seconds of a deferred task include its waiting time. Skipped tasks are left out. When the caller is
    interrupted, Airflow closes the run (`fruits_airflow.close_runs`) before the interruption continues.

    Args:
        params: Parameters of the run.
        environment: Environment of Airflow's process. The database of its `AIRFLOW_HOME` must exist.
        log: File that receives Airflow's output.

    Raises:
        DagsTestError: The run failed.
    """
    command = ["airflow", "dags", "test", DAG_ID, "--conf", json.dumps(params)]
    started, skipped = None, False
    with log.open("w", buffering=1, encoding="utf-8") as file, _open(command, environment) as process:
        try:
            for line in process.stdout or ():
                file.write(line)
                if event := _EVENT.search(line):
                    started = started or time.monotonic()
                    skipped = skipped or bool(event[1])
                    if task := event[2]:
                        if not skipped:
                            yield task, time.monotonic() - started
                        started, skipped = None, False
        except BaseException:
            _interrupt(process, file)
            raise
    if process.returncode:
        reason = _reason(log.read_text(encoding="utf-8"))
        raise DagsTestError(f"the run failed{f': {reason}' if reason else ''}\nAirflow's complete log is {log}.")


def _reason(log: str) -> str | None:
    """Return the message of the first exception that failed a task, or else the first error in the log.

    Airflow's client also logs errors in runs that succeed, such as "XCom not found" of a skipped task.
    Airflow's database does not hold the error of a failed task, and its JSON log would be hard to read for people.
    """
    failed = next((entry for entry in _ENTRY.split(log) if _TASK_FAILED in entry.partition("\n")[0]), "")
    raised = [*_RAISED.finditer(failed)]  # causes come first
    if raised:
        return raised[-1][2] or raised[-1][1]
    error = _ERROR.search(log)
    return error[1] if error else None


def _interrupt(process: subprocess.Popen[str], log: TextIO) -> None:
    """Let Airflow close the run, then end all its processes."""
    processes = tree(psutil.Process(process.pid))
    try:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            log.write(process.communicate(timeout=CLOSING_S)[0])
    finally:
        end(processes, grace_s=5)


def _open(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - from the virtual environment
        command,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
