"""Command line of the application in one process, without Spark and Java: for a run with few new images.

    python -m fruits_features.without_spark [--new-below N] -- <arguments of the application>

All tasks run one after the other. Log, errors and exit codes are those of the application. With N or more new images,
it ends with exit code 3 before it extracts any. If its standard input is a pipe, the process ends when the pipe is
closed, so that it does not outlive the process that started it.
"""

import argparse
import os
import stat
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in launch.py, before NumPy is imported

from fruits_features.__main__ import main
from fruits_features.job import run
from fruits_features.job.distribute import SerialRunner

if TYPE_CHECKING:
    from fruits_features.contract.arguments import Arguments
    from fruits_features.job.outcome import Outcome

_STDIN = 0


def _run(runner: SerialRunner, arguments: "Arguments") -> "Outcome":
    if arguments.region:
        os.environ["AWS_REGION"] = arguments.region
    return run.run(runner, arguments)


def _end_with_parent() -> None:
    """End this process when its standard input is closed, and with it the process that decodes images."""
    while os.read(_STDIN, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    if stat.S_ISFIFO(os.fstat(_STDIN).st_mode):
        threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    parser = argparse.ArgumentParser(
        prog="python -m fruits_features.without_spark", description="Run the application in one process, without Spark."
    )
    parser.add_argument("--new-below", type=int, help="number of new images from which on the run ends")
    parser.add_argument("arguments", nargs="*", help="arguments of the application")
    options = parser.parse_args()
    sys.exit(main(options.arguments, partial(_run, SerialRunner(options.new_below))))
