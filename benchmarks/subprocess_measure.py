"""Measuring in a process of its own, so that what made the data has no part in the memory."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def run(
    module: str, counted: str, default: int, make: Callable[[Path, int], object], measure: Callable[[Path], None]
) -> None:
    """Make data in a folder, and measure what is done with it.

    Args:
        module: whose command line this is; it is run again to measure.
        counted: what there are so many of: the option's name.
        default: how many, unless the option says otherwise.
        make: is called with the folder and how many.
        measure: is called with the folder, in the other process.
    """
    parser = argparse.ArgumentParser(f"python -m {module}")
    parser.add_argument(f"--{counted}", dest="count", type=int, default=default)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        measure(options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.count)
        subprocess.run([sys.executable, "-m", module, "--folder", folder], check=True)  # noqa: S603 - ourselves


def peak_mb() -> float:
    """The most memory that this process has had; `getrusage` would tell its parent's where that had more."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
