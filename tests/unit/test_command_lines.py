"""`--help` of every module that can be run as a command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"benchmarks": "", "include": "", "plugins/fruits_airflow": "plugins", "spark_apps": "spark_apps"}
"""Folders of modules, and the folder on the path that their names are relative to."""


def _modules() -> list[str]:
    files = [(file, ROOT / top) for folder, top in SOURCES.items() for file in (ROOT / folder).rglob("*.py")]
    commands = [
        file.relative_to(top).with_suffix("")
        for file, top in files
        if file.name == "__main__.py" or '__name__ == "__main__"' in file.read_text(encoding="utf-8")
    ]
    return sorted(".".join(part for part in path.parts if part != "__main__") for path in commands)


def _changes() -> dict[str, int]:
    """Return the modification times of the files under version control."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607
    return {name: (ROOT / name).stat().st_mtime_ns for name in listed.splitlines()}


@pytest.mark.parametrize("module", _modules())
def test_help_describes_the_command_and_does_nothing(module: str, tmp_path: Path) -> None:
    path = os.pathsep.join(str(ROOT / top) for top in ("", *filter(None, SOURCES.values())))
    before = _changes()

    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "500"},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert shown.returncode == 0, shown.stderr
    usage, description, *_ = shown.stdout.split("\n\n")
    assert usage.startswith("usage: ")
    assert ".py [" not in usage or "usage: python include/" in usage, "the usage does not name the command to type"
    assert description.endswith((".", ").")), "no sentence that describes the command"
    assert not re.search(r"__|`[\w.]*_\w*`", description), "names of code"
    assert not list(tmp_path.iterdir())
    assert _changes() == before
