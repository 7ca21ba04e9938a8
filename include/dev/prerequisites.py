"""Check the prerequisites of a command: a writable checkout, disk space, the place of `.venv`, and Java for Spark.

The Makefile runs this module first. It uses the standard library only, because it runs before the installation.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

JAVA = 17
INSTALLED_GB = 3.0
"""Disk space of the virtual environment in GB, with a margin."""
RUN_GB = 0.5
"""Disk space of a run of the demo in GB."""


def main(argv: list[str] | None = None) -> int:
    """Print a line per missing prerequisite, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python include/dev/prerequisites.py",
        description="Check that the checkout can be written, the disk has enough space and .venv can be used.",
    )
    parser.add_argument("--java", action="store_true", help=f"also check that Spark finds Java {JAVA} or newer")
    options = parser.parse_args(argv)
    root = Path(__file__).resolve().parents[2]
    needed_gb = RUN_GB if (root / ".venv" / ".runtime").exists() else INSTALLED_GB + RUN_GB
    found = (
        java_problem() if options.java else None,
        permission_problem(root),
        environment_problem(root),
        space_problem(root, needed_gb),
    )
    problems = [problem for problem in found if problem]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def java_problem() -> str | None:
    """Return the problem with the Java that Spark would start, or `None`.

    Spark starts the one of `JAVA_HOME`, and the one on the path if the variable is empty (its `bin/spark-class`).
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        if home:
            return f"JAVA_HOME is {home}, which has no bin/java; set it to a JDK {JAVA} or newer, or unset it."
        return f"Java {JAVA} or newer is needed for Spark and was not found; install a JDK, such as {_DEBIAN}."
    remedy = "set JAVA_HOME to it" if home else "put it first on the PATH"
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if version is None:
        return f"{java} does not report its version; install a JDK {JAVA} or newer and {remedy}."
    if int(version[1]) < JAVA:
        return (
            f"Java {JAVA} or newer is needed for Spark, {java} is {version[1]}; "
            f"install a newer JDK, such as {_DEBIAN}, and {remedy}."
        )
    return None


def permission_problem(root: Path) -> str | None:
    """Return the problem with a checkout that cannot be written, such as one of another user, or `None`."""
    for folder in (root, root / ".venv", root / ".local"):
        if folder.exists() and not os.access(folder, os.W_OK):
            return f"This user cannot write to {folder}; change its owner or its disk, or use a checkout of your own."
    return None


def environment_problem(root: Path) -> str | None:
    """Return the problem with the virtual environment of a checkout that was moved, or `None`."""
    pip = root / ".venv" / "bin" / "pip"
    interpreter = _INTERPRETER.search(pip.read_text(encoding="utf-8")) if pip.exists() else None
    if interpreter is None or Path(interpreter[1]).exists():
        return None
    return (
        f"The commands in .venv start {interpreter[1]}, which does not exist. Was {root} moved? Move it back, "
        "or delete .venv and .local/airflow, and run again."
    )


def space_problem(folder: Path, needed_gb: float) -> str | None:
    """Return the problem with the free space of a folder's disk, or `None`."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb >= needed_gb:
        return None
    return (
        f"{folder} needs {needed_gb:.1f} GB of free disk space and has {free_gb:.1f} GB; free some space and run again."
    )


_INTERPRETER = re.compile(r"""^(?:#!|'''exec' "?)(/[^"\n]*/python[\d.]*)""", re.MULTILINE)
"""Interpreter of a script that pip wrote, whose path may contain spaces."""
_DEBIAN = "Debian's openjdk-17-jdk-headless"

if __name__ == "__main__":
    sys.exit(main())
