"""What a machine must have before anything is installed: Python, Java, space. Run by the Makefile first of all.

Standard library only, and readable by an old Python, since it is there to say that Python is too old.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON = (3, 11)
JAVA = 17
INSTALLED_GB = 3.0
"""What the virtual environment takes, with some room."""
RUN_GB = 0.5
"""What a run of the demo takes."""


def main() -> int:
    """Print one line for each thing that is missing; the exit code tells whether any is."""
    root = Path(__file__).resolve().parents[2]
    needed_gb = RUN_GB if (root / ".venv").exists() else INSTALLED_GB + RUN_GB
    problems = [problem for problem in (python_problem(), java_problem(), space_problem(root, needed_gb)) if problem]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def python_problem() -> str | None:
    """Tell what is wrong with this Python, if anything."""
    if sys.version_info >= PYTHON:
        return None
    return "Python {}.{} or newer is needed, this is {}: name another with `make PYTHON=python3.11 …`.".format(
        *PYTHON, sys.version.split()[0]
    )


def java_problem() -> str | None:
    """Tell what is wrong with the `java` on the path, if anything."""
    java = shutil.which("java")
    if java is None:
        return f"Java {JAVA} or newer is needed for Spark, and there is none: install a JDK, such as {_DEBIAN}."
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if version is None:
        return f"{java} does not tell its version: install a JDK {JAVA} or newer and put it first on the PATH."
    if int(version[1]) < JAVA:
        return (
            f"Java {JAVA} or newer is needed for Spark, {java} is {version[1]}: install a newer JDK, such as {_DEBIAN}."
        )
    return None


def space_problem(folder: Path, needed_gb: float) -> str | None:
    """Tell whether a folder's disk has too little room."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb >= needed_gb:
        return None
    return (
        f"{needed_gb:.1f} GB of free space are needed for {folder}, {free_gb:.1f} GB are there: make room, run again."
    )


_DEBIAN = "Debian's openjdk-17-jdk-headless"

if __name__ == "__main__":
    sys.exit(main())
