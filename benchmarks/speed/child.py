"""Process of one candidate: `python -m benchmarks.speed.child CANDIDATE TASK`.

It writes `ready` when the session has started. For each line of standard input it runs a job and writes a `task.Done`.
Other output of the candidate goes to stderr.
"""

import argparse
import os
import sys
from importlib import import_module

from benchmarks.speed.task import READY, Task


def main(candidate: str, task: str) -> None:
    """Start the session, and run a job per line of standard input."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as parent:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with import_module(f"benchmarks.speed.candidates.{candidate}").session(Task.from_json(task)) as work:
            print(READY, file=parent, flush=True)
            for _ in sys.stdin:
                print(work().to_json(), file=parent, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        "python -m benchmarks.speed.child",
        description="Measure one candidate. `python -m benchmarks.speed` starts this command.",
    )
    parser.add_argument("candidate", help="module of benchmarks.speed.candidates")
    parser.add_argument("task", help="task as JSON")
    main(**vars(parser.parse_args()))
