"""The command that closes an interrupted run. `tests/e2e/test_interrupted_runs.py` interrupts complete runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).parents[3] / "plugins"
INTERRUPTED = """
import os, signal, sys, time
from fruits_airflow import close_runs

def execve(program, command, environment):
    os.write(1, environment["PYTHONPATH"].encode())
    os._exit(0)

os.execve = execve
close_runs._watch("fruits_features", "manual__1")
sys.path.insert(0, "/of/an/import")
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""


def test_run_is_closed_if_the_interruption_arrives_while_opencv_is_imported() -> None:
    """While OpenCV is imported, the import path begins with a folder whose modules hide those of Python."""
    command = [sys.executable, "-c", f"import sys; sys.path.append({str(PLUGINS)!r})\n{INTERRUPTED}"]

    closing = subprocess.run(command, capture_output=True, text=True, check=True)

    assert str(PLUGINS) in closing.stdout
    assert "/of/an/import" not in closing.stdout
