"""The process of one candidate: `python -m benchmarks.speed.child CANDIDATE TASK`, told by lines when to work.

Writes `ready` once the session has started; for every line read it does the work and writes what was done, as
`task.Done`. All that the candidate itself prints goes to stderr.
"""

import os
import sys
from importlib import import_module

from benchmarks.speed.task import READY, Task


def main(candidate: str, task: str) -> None:
    """Start the session, and work when told."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as parent:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with import_module(f"benchmarks.speed.candidates.{candidate}").session(Task.from_json(task)) as work:
            print(READY, file=parent, flush=True)
            for _ in sys.stdin:
                print(work().to_json(), file=parent, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
