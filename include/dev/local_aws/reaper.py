"""The guardian: a small process that outlives the supervisor just long enough to end what it left behind.

The supervisor holds the write end of the guardian's standard input and never writes. However the supervisor ends, by
`stop`, by a crash, by SIGKILL, the system closes that end; the guardian reads end-of-file, ends every process that
carries the run's mark, and ends itself. This needs nothing that only Linux has, unlike `PR_SET_PDEATHSIG`, which
moreover does not reach grandchildren, and Spark's JVM is one.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from include.dev.local_aws.processes import MARK, end_marked


def start_guardian(run_id: str) -> subprocess.Popen[bytes]:
    """Start a guardian for the calling process; it watches until that process ends or closes its `stdin`."""
    return subprocess.Popen(  # noqa: S603 - this module, by our own interpreter
        [sys.executable, "-m", "include.dev.local_aws.reaper", run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def main() -> int:
    """Wait for end-of-file, then end what carries the mark."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    return 1 if end_marked(MARK, sys.argv[1]) else 0


if __name__ == "__main__":
    sys.exit(main())
