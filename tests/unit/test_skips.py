"""In CI, a skipped test fails, unless it is one of the tests of real photographs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import MAY_BE_SKIPPED

ROOT = Path(__file__).parents[2]
MODULE = """
import pytest

@pytest.mark.skipif(True, reason="no browser")
def test_by_mark(): ...

def test_in_the_test(): pytest.skip("no linter")

@pytest.mark.xfail
def test_expected_failure(): assert False

def test_listed(): pytest.skip("no photographs")
"""
PROGRAM = """
import sys, pytest, tests.support.skips
tests.support.skips.MAY_BE_SKIPPED = {"test_module.py::test_listed"}
sys.exit(pytest.main(["-ra", "-p", "tests.support.skips"]))
"""


def _outcomes(folder: Path, ci: str) -> tuple[int, str]:
    """Run pytest with the plugin on the modules of a folder. Return its exit code and its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment | {"PYTHONPATH": str(ROOT), "CI": ci},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout


def test_skip_in_ci_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text(MODULE)

    code, output = _outcomes(tmp_path, ci="true")

    assert code == 1
    assert re.search("1 failed, 1 skipped, 1 xfailed, .*1 error", output)
    assert output.count("No test may be skipped in CI") >= 2
    assert re.search("ERROR test_module.py::test_by_mark.* no browser", output)
    assert re.search("FAILED test_module.py::test_in_the_test.* no linter", output)


def test_skipped_module_in_ci_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")

    code, output = _outcomes(tmp_path, ci="true")

    assert code
    assert re.search("ERROR test_module.py.* could not import 'no_such_module'", output)


def test_skip_on_a_developers_machine_stays_one(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text(MODULE)

    code, output = _outcomes(tmp_path, ci="")

    assert code == 0
    assert "3 skipped, 1 xfailed" in output


@pytest.mark.parametrize("name", sorted(MAY_BE_SKIPPED))
def test_listed_test_exists(name: str) -> None:
    file, _, function = name.partition("::")

    assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")
