"""Install locked requirements into `.venv` with a report of the progress. The Makefile runs this module.

It uses the standard library only, because it creates the virtual environment.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = "requirements.txt"
RUNTIME_COST = "About 0.8 GB to download and 2 GB on disk, once; three to ten minutes."
"""Measured (docs/measurements/constants.md)."""
REPORT_EVERY_S = 5.0

_PINNED = re.compile(r"^[A-Za-z0-9][\w.-]*(\[.*?\])?==", re.MULTILINE)


def main(argv: list[str] | None = None) -> int:
    """Install and return pip's exit code; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python include/dev/install.py", description="Install locked requirements into .venv, which is created."
    )
    parser.add_argument("requirements", type=Path, help=f"file of locked requirements, such as {RUNTIME}")
    requirements: Path = parser.parse_args(argv).requirements
    commands = ROOT / ".venv" / "bin"
    try:
        if not (commands / "pip").exists():  # written last; Debian's venv fails before without python3-venv
            venv.create(ROOT / ".venv", with_pip=True)
        return install(commands / "python", requirements)
    except KeyboardInterrupt:
        print("Interrupted. Run the command again to continue.", file=sys.stderr)
        return 130


def install(python: Path, requirements: Path) -> int:
    """Install the requirements into the environment of an interpreter, and return pip's exit code."""
    total = len(_PINNED.findall(requirements.read_text(encoding="utf-8")))
    cost = f" {RUNTIME_COST}" if requirements.name == RUNTIME else ""
    print(f"Installing the {total} packages of {requirements.name} into .venv.{cost}", flush=True)
    options = ["--disable-pip-version-check", "--progress-bar", "off", "--require-hashes"]
    command = [str(python), "-m", "pip", "install", *options, "-r", str(requirements)]
    progress = Progress(total)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}  # lines arrive when they are printed
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as pip:
        for line in pip.stdout or ():
            progress.update(line)
    return pip.returncode


class Progress:
    """Prints progress while pip prints its lines, at most one line per `REPORT_EVERY_S` seconds.

    Args:
        total: Number of packages.
    """

    def __init__(self, total: int) -> None:
        self._total, self._seen = total, 0
        self._started = self._reported = time.monotonic()

    def update(self, line: str) -> None:
        """Take one line of pip's output."""
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            self._seen += 1
            if time.monotonic() - self._reported >= REPORT_EVERY_S:
                self._report(f"{self._seen} of {self._total} packages downloaded")
        elif line.startswith("Installing collected packages"):
            self._report("all packages downloaded, unpacking them")
        elif line.startswith("Successfully installed"):
            self._report("done")

    def _report(self, text: str) -> None:
        self._reported = time.monotonic()
        print(f"  {self._reported - self._started:4.0f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
