"""Measure in a subprocess, so that the memory of the generation of data is not counted."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def run(
    module: str, counted: str, default: int, make: Callable[[Path, int], object], measure: Callable[[Path], None]
) -> None:
    """Write data to a folder, and measure the work on it in a subprocess.

    Args:
        module: Name of the calling module, which the subprocess runs.
        counted: Name of the option for the number of items.
        default: Default number of items.
        make: Function that writes the data, given the folder and the number of items.
        measure: Function that measures in the subprocess, given the folder.
    """
    description = (sys.modules["__main__"].__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(f"python -m {module}", description=description)
    parser.add_argument(f"--{counted}", dest="count", type=int, default=default, help="number (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        measure(options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.count)
        subprocess.run([sys.executable, "-m", module, "--folder", folder], check=True)  # noqa: S603 - a module of this package


def peak_mb() -> float:
    """Return the peak memory of this process in MB. `getrusage` may return the larger peak of its parent."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
