"""Start the candidates' processes, run and measure their jobs, and end them."""

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
from include.dev.local_aws.client import without_accounts
from include.dev.local_aws.processes import end, tree

ROOT = Path(__file__).parents[2]


class CandidateError(Exception):
    """A candidate failed, or processed another number of images."""


@dataclass(frozen=True)
class Candidate:
    """A way to extract features.

    Args:
        name: Name of its module.
        title: Title in the table.
        separate: Whether it needs the libraries of benchmarks/requirements.txt in a separate environment.
        own_work: Whether it does other work than the application's extraction: it returns each pixel as a number.
    """

    name: str
    title: str
    separate: bool = False
    own_work: bool = False


CANDIDATES = (
    Candidate("plain", "(a) plain processes, no Spark"),
    Candidate("app", "(b) this application"),
    Candidate("prototype", "(c) three Python UDFs, a boto3 client per row", own_work=True),
    Candidate("prototype_client", "(c') the same, a client per process", own_work=True),
    Candidate("binary_file", "(d) `binaryFile`, pandas UDF"),
    Candidate("ray_data", "(e) Ray Data", separate=True),
    Candidate("daft_frame", "(f) Daft", separate=True),
)


@contextmanager
def started(
    candidate: Candidate, extras: Path, task: Task, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Start a candidate's process, wait until its session has started, and end the process tree after the block.

    Args:
        candidate: Candidate to start.
        extras: Virtual environment of candidates with separate libraries.
        task: Task of the candidate.
        environment: Environment variables with which the candidate finds S3, added to those of this process.

    Raises:
        CandidateError: The session did not start.
    """
    shutil.rmtree(task.output, ignore_errors=True)
    output = Path(task.output)
    output.mkdir(parents=True)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "spark_apps")))
    with (output / "log.txt").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a module of this project
            [str(interpreter(candidate, extras)), "-m", "benchmarks.speed.child", candidate.name, task.to_json()],
            env={
                **without_accounts(os.environ),
                **environment,
                "PYTHONPATH": path,
                "OMP_NUM_THREADS": "1",  # as spark_apps/launch.py
            },
            cwd=output,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            if (line := _read_line(process)) != READY:
                raise CandidateError(f"Expected {READY!r} from {candidate.name}, got {line!r}; see {output}/log.txt.")
            yield process
        finally:
            if process.poll() is None:
                end(tree(psutil.Process(process.pid)), grace_s=10)


def work(process: subprocess.Popen[str], task: Task) -> tuple[Use, Done]:
    """Run one job of a candidate, and return its resources and result.

    Raises:
        CandidateError: The job failed or did not extract all images.
    """
    assert process.stdin is not None  # noqa: S101 - opened above
    with metered(psutil.Process(process.pid)) as use:
        print(file=process.stdin, flush=True)
        line = _read_line(process)
    if not line or (done := Done.from_json(line)).images != task.images:
        log = Path(task.output) / "log.txt"
        raise CandidateError(f"Expected {task.images} extracted images, got {line!r}; see {log}.")
    return use, done


def interpreter(candidate: Candidate, extras: Path) -> Path:
    """Return the Python with a candidate's libraries. It may not exist."""
    return extras / "bin" / "python" if candidate.separate else Path(sys.executable)


def _read_line(process: subprocess.Popen[str]) -> str:
    """Wait for a line and return it, or an empty string if the process has ended."""
    assert process.stdout is not None  # noqa: S101 - opened above
    return process.stdout.readline().strip()
