"""Command line of the application in one process, without Spark and Java: for a run with few new images.

    python -m fruits_features.without_spark <arguments of the application>

All tasks run one after the other. Log, errors and exit codes are those of the application. If its standard input is a
pipe, the process ends when the pipe is closed, so that it does not outlive the process that started it.
"""

import os
import stat
import sys
import threading
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in launch.py, before NumPy is imported

from fruits_features.__main__ import main
from fruits_features.job import run

if TYPE_CHECKING:
    from fruits_features.contract.arguments import Arguments
    from fruits_features.job.outcome import Outcome

_STDIN = 0


def _run(arguments: "Arguments") -> "Outcome":
    if arguments.region:
        os.environ["AWS_REGION"] = arguments.region
    return run.run(None, arguments)


def _end_with_parent() -> None:
    """End this process when its standard input is closed, and with it the process that decodes images."""
    while os.read(_STDIN, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    if stat.S_ISFIFO(os.fstat(_STDIN).st_mode):
        threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    sys.exit(main(run=_run))
