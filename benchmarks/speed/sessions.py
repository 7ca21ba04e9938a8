"""Candidates' processes: started, told to work, metered, ended."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.speed.meter import Use, metered
from benchmarks.speed.task import READY, Done, Task
from include.dev.local_aws.processes import end, tree

ROOT = Path(__file__).parents[2]


class CandidateError(Exception):
    """A candidate failed, or did something else than it was asked."""


@dataclass(frozen=True)
class Candidate:
    """A way to do the work.

    Args:
        name: of its module.
        title: for the table.
        apart: it needs libraries of its own, from benchmarks/requirements.txt.
    """

    name: str
    title: str
    apart: bool = False


CANDIDATES = (
    Candidate("plain", "(a) plain processes, no Spark"),
    Candidate("app", "(b) this application"),
    Candidate("prototype", "(c) three Python UDFs, boto3 a row"),
    Candidate("prototype_client", "(c') the same, one client a process"),
    Candidate("binary_file", "(d) `binaryFile`, pandas UDF"),
    Candidate("ray_data", "(e) Ray Data", apart=True),
    Candidate("daft_frame", "(f) Daft", apart=True),
)


@contextmanager
def started(
    candidate: Candidate, apart: Path, task: Task, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Start a candidate's process and wait until its session stands; ends it with all its descendants."""
    shutil.rmtree(task.output, ignore_errors=True)
    output = Path(task.output)
    output.mkdir(parents=True)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "spark_apps")))
    with (output / "log.txt").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [str(interpreter(candidate, apart)), "-m", "benchmarks.speed.child", candidate.name, task.to_json()],
            env={**os.environ, **environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},  # as spark_apps/launch.py
            cwd=output,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            if (told := _told(process)) != READY:
                raise CandidateError(f"It should have said {READY!r}, and said {told!r}; see {output / 'log.txt'}.")
            yield process
        finally:
            if process.poll() is None:
                end(tree(psutil.Process(process.pid)), grace_s=10)


def work(process: subprocess.Popen[str], task: Task) -> tuple[Use, Done]:
    """Let a candidate do its work once; returns what that used, and what it did.

    Raises:
        CandidateError: when it fails, or has not described every image.
    """
    assert process.stdin is not None  # noqa: S101 - opened above
    with metered(psutil.Process(process.pid)) as use:
        print(file=process.stdin, flush=True)
        told = _told(process)
    if not told or (done := Done.from_json(told)).images != task.images:
        log = Path(task.output) / "log.txt"
        raise CandidateError(f"It should have described {task.images} images, and said {told!r}; see {log}.")
    return use, done


def interpreter(candidate: Candidate, apart: Path) -> Path:
    """Tell the Python that has what a candidate needs, if it is installed."""
    return apart / "bin" / "python" if candidate.apart else Path(sys.executable)


def _told(process: subprocess.Popen[str]) -> str:
    """Wait for a line; empty where the process has ended."""
    assert process.stdout is not None  # noqa: S101 - opened above
    return process.stdout.readline().strip()
