"""Reaper: a small process that outlives the supervisor and ends the processes it left.

The supervisor holds the write end of the reaper's standard input and never writes to it. When the supervisor ends, even
by a crash or SIGKILL, the system closes that end. The reaper reads end-of-file, ends all processes that carry the run's
mark, and exits.

`PR_SET_PDEATHSIG` is not an alternative: it exists on Linux only and does not reach grandchildren such as Spark's JVM.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

from include.dev.local_aws.processes import MARK, end_marked


def start_reaper(run_id: str) -> subprocess.Popen[bytes]:
    """Start a reaper for the calling process. It waits until that process ends or closes the reaper's `stdin`."""
    return subprocess.Popen(  # noqa: S603 - this module, by our own interpreter
        [sys.executable, "-m", "include.dev.local_aws.reaper", run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def main() -> int:
    """Wait for end-of-file, then end the processes that carry the mark."""
    parser = argparse.ArgumentParser(
        "python -m include.dev.local_aws.reaper",
        description="End the processes of a local AWS when standard input ends. The local AWS starts this command.",
    )
    parser.add_argument("run_id", help="id of the start of the local AWS")
    run_id = parser.parse_args().run_id
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    return 1 if end_marked(MARK, run_id) else 0


if __name__ == "__main__":
    sys.exit(main())
