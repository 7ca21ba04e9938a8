"""`airflow` commands in forks of a process that has already imported Airflow, which takes several seconds.

A fork runs the command's entry point with its own environment, output and exit code.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.support.airflow.preload"])


def run_in_fork(command: Sequence[str], environment: Mapping[str, str], log: Path, timeout_s: float) -> int:
    """Run an `airflow` command and return its exit code. Its output goes to `log`."""
    process = start_in_fork(command, environment, log)
    process.join(timeout_s)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{' '.join(command)} did not end within {timeout_s} s; see {log}.")
    return process.exitcode


def start_in_fork(command: Sequence[str], environment: Mapping[str, str], log: Path) -> ForkServerProcess:
    """Start an `airflow` command and return its process. Its output goes to `log`."""
    process = _forks.Process(target=_run, args=(command, dict(environment), log))
    process.start()
    return process


def _run(command: Sequence[str], environment: dict[str, str], log: Path) -> None:
    from airflow.__main__ import main

    with log.open("wb") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(command)
    main()
