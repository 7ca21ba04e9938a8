"""Commands that the targets of the Makefile run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JAVA, INSTALL = "prerequisites.py --java", "install.py"


def _commands(*arguments: str) -> str:
    """Return what `make` would run in a checkout without any file that it creates."""
    command = ["make", "--dry-run", "--always-make", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "target", ["check", "format", "docs", "lock", "audit", "mwaa", "wheel", "deploy", "down", "clean"]
)
def test_target_without_spark_does_not_ask_for_java(target: str) -> None:
    assert JAVA not in _commands(target)


@pytest.mark.parametrize("target", ["demo", "up", "test", "test-fast", "bench", "bench-daily"])
def test_target_with_spark_asks_for_java_before_it_installs(target: str) -> None:
    assert JAVA in _commands(target).partition(INSTALL)[0]


@pytest.mark.parametrize("target", ["down", "clean"])
def test_stopping_installs_nothing(target: str) -> None:
    assert INSTALL not in _commands(target)


def test_clean_stops_first_and_removes_everything_that_git_ignores() -> None:
    stop, _, remove = _commands("clean").partition("rm -rf")

    assert "local_airflow stop" in stop or "Nothing was running." in stop
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert {name.strip("/") for name in ignored} - {"*.pyc"} <= set(remove.split())


def test_stop_in_a_checkout_without_anything_does_nothing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)

    stopped = subprocess.run(
        ["make", "down"],  # noqa: S607
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},  # `make test`'s
        capture_output=True,
        text=True,
        check=True,
    )

    assert stopped.stdout == "Nothing was running.\n"
    assert [file.name for file in tmp_path.iterdir()] == ["Makefile"]


def test_old_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """The check must not need a module of the project, which an old Python cannot read."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    program = tmp_path / "old"
    program.write_text(
        "#!/bin/sh\nexec python3 -c \"import sys; sys.version_info = (2, 7); sys.version = '2.7.18'; $2\"\n"
    )
    program.chmod(0o755)

    refused = subprocess.run(
        ["make", f"PYTHON={program}", "demo"],  # noqa: S607
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode
    assert refused.stderr.splitlines()[0] == (
        "Python 3.11 or newer is needed, this is 2.7.18; select another one, for example: make demo PYTHON=python3.11"
    )
