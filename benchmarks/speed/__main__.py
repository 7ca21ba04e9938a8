"""This application beside other ways to turn images in S3 into features: the tables of docs/measurements/speed.md.

    make bench
    PYTHONPATH=.:spark_apps python -m benchmarks.speed --images 22400 --repeats 5 --candidates

Every candidate works on the same distinct images from the same S3 server (the local AWS's rclone), on all cores, in a
process of its own. A job is from reading the inventory to closing the Parquet; starting a session (JVM, Ray) is not
timed. The application's session and another's stand beside each other and work by turns, job by job, so that a machine
that is now fast, now slow is so for both. `first` is the first job of a fresh session, `later` are those after it.
Likewise the application works through two proxies: one adds latency to every answer of S3, one adds none.
"""

import argparse
import itertools
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.speed.images import draw, take_inventory
from benchmarks.speed.meter import Use
from benchmarks.speed.ratios import LIMIT, OWN, letter, ratios
from benchmarks.speed.report import DIRECT, FIRST, LATER, PROXY, Run, about, table
from benchmarks.speed.sessions import CANDIDATES, Candidate, interpreter, started, work
from benchmarks.speed.task import Done, Task
from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.s3.fault_proxy import S3FaultProxy

ALWAYS = (LIMIT, OWN)
"""The application, and what bounds it."""
_OTHERS = [candidate.name for candidate in CANDIDATES if letter(candidate.title) not in ALWAYS]


class _Contender(NamedTuple):
    """A candidate, and its way to S3."""

    candidate: Candidate
    way: str

    def __str__(self) -> str:
        return f"{self.candidate.name}, {self.way}"


class _Session(NamedTuple):
    """A contender's process."""

    contender: _Contender
    process: subprocess.Popen[str]
    task: Task

    def work(self) -> tuple[Use, Done]:
        """Do a job; what the one before wrote to the bucket is nobody's to pay for, as it is no run's."""
        for written in ("app", "plain"):
            shutil.rmtree(Path(self.task.folder, written), ignore_errors=True)
        return work(self.process, self.task)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    options = _parser().parse_args(argv)
    with LocalAws(options.folder / "aws") as aws, served(aws, options.latency_ms) as ways:
        runs = []
        for run in _measure(options, aws, ways):
            runs.append(run)
            (options.folder / "runs.json").write_text(json.dumps([asdict(one) for one in runs], indent=1))
    command = shlex.join(["python", "-m", "benchmarks.speed", *(sys.argv[1:] if argv is None else argv)])
    print(f"{datetime.now(UTC):%Y-%m-%d}, `{command}`:", *about(options.repeats), "", sep="\n")
    print(*table(runs), "", *ratios(runs), sep="\n")
    return 0


@contextmanager
def served(aws: LocalAws, latency_ms: float) -> Iterator[dict[str, str]]:
    """Give the addresses of S3: direct, by a proxy, and by one that adds latency."""
    direct = aws.environment["AWS_ENDPOINT_URL_S3"]
    host, _, port = direct.removeprefix("http://").partition(":")
    with ExitStack() as stack:
        ways = {DIRECT: direct}
        for added_ms in (0, latency_ms) if latency_ms else ():
            proxy = stack.enter_context(S3FaultProxy((host, int(port)), latency_s=added_ms / 1000))
            ways[PROXY.format(added_ms)] = proxy.url
        yield ways


def _measure(options: argparse.Namespace, aws: LocalAws, ways: dict[str, str]) -> Iterator[Run]:
    """Let the application work beside each of the others, in another order each time."""
    present = list(_present(options))
    rounds = [(repeat, pair) for repeat in range(options.repeats) for pair in _pairs(present, [*ways], repeat)]
    turns = itertools.count()
    with tqdm(rounds, unit=" pairs", disable=None) as bar:
        for repeat, pair in bar:
            bar.set_postfix_str(str(pair[1]))
            with ExitStack() as stack:
                sessions = [stack.enter_context(_session(options, aws, ways, one, n)) for n, one in enumerate(pair)]
                for job in range(options.jobs):
                    turn = next(turns)
                    for one in sessions if (repeat + job) % 2 else sessions[::-1]:
                        use, done = one.work()
                        what = (one.contender.candidate.title, one.contender.way, LATER if job else FIRST)
                        yield Run(*what, repeat, done.images, use, done.described_s, turn)


def _pairs(present: Sequence[Candidate], ways: Sequence[str], repeat: int) -> Iterator[tuple[_Contender, _Contender]]:
    """Give who works beside whom: the application is always the first."""
    own, *others = sorted(present, key=lambda one: letter(one.title) != OWN)
    for other in random.Random(repeat).sample(others, len(others)):  # noqa: S311 - no secret
        yield _Contender(own, DIRECT), _Contender(other, DIRECT)
    if ways[1:]:
        prompt, late = ways[1:]
        yield _Contender(own, late), _Contender(own, prompt)


@contextmanager
def _session(
    options: argparse.Namespace, aws: LocalAws, ways: dict[str, str], contender: _Contender, place: int
) -> Iterator[_Session]:
    task = _task(options, aws, f"{contender.candidate.name}-{place}")
    environment = aws.environment | {"AWS_ENDPOINT_URL_S3": ways[contender.way]}
    with started(contender.candidate, options.extras, task, environment) as process:
        yield _Session(contender, process, task)


def _present(options: argparse.Namespace) -> Iterator[Candidate]:
    """Choose the candidates that are asked for and can run; says how to install what is missing."""
    for candidate in CANDIDATES:
        if letter(candidate.title) not in ALWAYS and candidate.name not in options.candidates:
            continue
        if interpreter(candidate, options.extras).exists():
            yield candidate
        else:
            install = (
                f"python3 -m venv {options.extras} && {options.extras}/bin/pip install -r benchmarks/requirements.txt"
            )
            print(f"{candidate.title} is skipped, as it is not installed: {install}", file=sys.stderr)


def _task(options: argparse.Namespace, aws: LocalAws, name: str) -> Task:
    """Draw and list a candidate's images; its own folder is called by the name."""
    bucket = aws.create_bucket(f"images-{options.images}")
    inventory, folder = options.folder / "inventories" / str(options.images), aws.s3_folder / bucket
    if not inventory.exists():
        draw(folder, options.images, options.cores)
        take_inventory(folder, inventory)
    output = options.folder / "candidates" / name
    return Task(bucket, str(inventory), str(folder), str(output), options.images, options.cores)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.speed", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--images", type=int, default=5_000, help="how many, up to 90,380 (default %(default)s)")
    add("--repeats", type=int, default=3, help="of everything (default %(default)s)")
    add("--jobs", type=int, default=3, help="of a session; all but the first are later ones (default %(default)s)")
    add("--candidates", nargs="*", choices=_OTHERS, default=_OTHERS, help="besides (a) and (b) (default: all)")
    add("--latency-ms", type=float, default=30.0, help="added by the proxy; 0 leaves it out (default %(default)s)")
    add("--cores", type=int, default=os.cpu_count() or 1, help="for each candidate (default %(default)s)")
    add("--folder", type=lambda path: Path(path).resolve(), default=".local/speed", help="keeps images and results")
    add("--extras", type=lambda path: Path(path).absolute(), default=".local/speed-venv", help="where Ray and Daft are")
    return parser


if __name__ == "__main__":
    sys.exit(main())
