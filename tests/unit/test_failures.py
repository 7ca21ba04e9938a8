"""A failure is printed before a run ends, even if the run is stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULE = """
import os

def test_that_fails(): assert "apple" == "lime"

def test_that_stops_the_run(): os._exit(3)
"""


def test_failure_is_printed_though_the_run_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "tests.support.failures"]

    run = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )

    assert run.returncode == 3
    assert "test_module.py::test_that_fails failed in call" in run.stdout
    assert "assert 'apple' == 'lime'" in run.stdout
