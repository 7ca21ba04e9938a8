"""Compare this application with other ways to extract features from images in S3 (docs/measurements/speed.md).

    make bench
    make bench BENCH="--photographs 200"
    PYTHONPATH=.:spark_apps python -m benchmarks.speed --images 22400 --repeats 5 --candidates

All candidates process the same distinct images from the same S3 server (rclone of the local AWS), on all cores, each in
a separate process. A job begins with the inventory and ends with the closed Parquet file. The start of a session (JVM,
Ray) is not included. With `--photographs`, the images are photographs of 12 megapixels, and only candidates with the
application's extraction take part, so that all do the same work.

A session of the application and a session of another candidate are open at the same time and run jobs alternately, so
that variations of the machine's speed affect both. `first` is the first job of a session, `later` are the others. In
the same way the application is measured behind two proxies: one adds latency to each response of S3, one adds none.
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

from benchmarks.speed.images import draw, draw_photographs, take_inventory
from benchmarks.speed.meter import Use
from benchmarks.speed.ratios import LIMIT, OWN, letter, ratios
from benchmarks.speed.report import DIRECT, FIRST, LATER, PROXY, Run, about, table
from benchmarks.speed.sessions import CANDIDATES, Candidate, interpreter, started, work
from benchmarks.speed.task import Done, Task
from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.s3.fault_proxy import S3FaultProxy

ALWAYS = (LIMIT, OWN)
"""Letters of the candidates that are always measured: the limit and the application."""
_OTHERS = [candidate.name for candidate in CANDIDATES if letter(candidate.title) not in ALWAYS]


class _Contender(NamedTuple):
    """A candidate and its connection to S3."""

    candidate: Candidate
    way: str

    def __str__(self) -> str:
        return f"{self.candidate.name}, {self.way}"


class _Session(NamedTuple):
    """Process of a contender."""

    contender: _Contender
    process: subprocess.Popen[str]
    task: Task

    def work(self) -> tuple[Use, Done]:
        """Run a job. The output of the previous job is deleted first, and its deletion is not measured."""
        for written in ("app", "plain"):
            shutil.rmtree(Path(self.task.folder, written), ignore_errors=True)
        return work(self.process, self.task)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables and return the exit code."""
    options = _parser().parse_args(argv)
    with LocalAws(options.folder / "aws") as aws, served(aws, options.latency_ms) as ways:
        runs = []
        for run in _measure(options, aws, ways):
            runs.append(run)
            (options.folder / "runs.json").write_text(json.dumps([asdict(run) for run in runs], indent=1))
    command = shlex.join(["python", "-m", "benchmarks.speed", *(sys.argv[1:] if argv is None else argv)])
    print(f"{datetime.now(UTC):%Y-%m-%d}, `{command}`:", *about(options.repeats), "", sep="\n")
    print(*table(runs), "", *ratios(runs), sep="\n")
    return 0


@contextmanager
def served(aws: LocalAws, latency_ms: float) -> Iterator[dict[str, str]]:
    """Yield the URLs of S3: direct, through a proxy, and through a proxy that adds latency."""
    direct = aws.environment["AWS_ENDPOINT_URL_S3"]
    host, _, port = direct.removeprefix("http://").partition(":")
    with ExitStack() as stack:
        ways = {DIRECT: direct}
        for added_ms in (0, latency_ms) if latency_ms else ():
            proxy = stack.enter_context(S3FaultProxy((host, int(port)), latency_s=added_ms / 1000))
            ways[PROXY.format(added_ms)] = proxy.url
        yield ways


def _measure(options: argparse.Namespace, aws: LocalAws, ways: dict[str, str]) -> Iterator[Run]:
    """Measure the application with each other candidate, in another order per repeat."""
    present = list(_present(options))
    rounds = [(repeat, pair) for repeat in range(options.repeats) for pair in _pairs(present, [*ways], repeat)]
    turns = itertools.count()
    with tqdm(rounds, unit=" pairs", disable=None) as bar:
        for repeat, pair in bar:
            bar.set_postfix_str(str(pair[1]))
            with ExitStack() as stack:
                sessions = [
                    stack.enter_context(_session(options, aws, ways, contender, position))
                    for position, contender in enumerate(pair)
                ]
                for job in range(options.jobs):
                    turn = next(turns)
                    for session in sessions if (repeat + job) % 2 else sessions[::-1]:
                        use, done = session.work()
                        contender = session.contender
                        row = (contender.candidate.title, contender.way, LATER if job else FIRST)
                        yield Run(*row, repeat, done.images, use, done.extracted_s, turn)


def _pairs(present: Sequence[Candidate], ways: Sequence[str], repeat: int) -> Iterator[tuple[_Contender, _Contender]]:
    """Yield the pairs to compare. The application is the first of each pair."""
    own, *others = sorted(present, key=lambda candidate: letter(candidate.title) != OWN)
    for other in random.Random(repeat).sample(others, len(others)):  # noqa: S311 - no secret
        yield _Contender(own, DIRECT), _Contender(other, DIRECT)
    if ways[1:]:
        direct, delayed = ways[1:]
        yield _Contender(own, delayed), _Contender(own, direct)


@contextmanager
def _session(
    options: argparse.Namespace, aws: LocalAws, ways: dict[str, str], contender: _Contender, position: int
) -> Iterator[_Session]:
    task = _task(options, aws, f"{contender.candidate.name}-{position}")
    environment = aws.environment | {"AWS_ENDPOINT_URL_S3": ways[contender.way]}
    with started(contender.candidate, options.extras, task, environment) as process:
        yield _Session(contender, process, task)


def _present(options: argparse.Namespace) -> Iterator[Candidate]:
    """Yield the selected candidates that are installed, and print how to install the others."""
    for candidate in CANDIDATES:
        if letter(candidate.title) not in ALWAYS and candidate.name not in options.candidates:
            continue
        if options.photographs and candidate.own_work:
            print(f"{candidate.title} is skipped because it does other work.", file=sys.stderr)
            continue
        if interpreter(candidate, options.extras).exists():
            yield candidate
        else:
            install = (
                f"python3 -m venv {options.extras} && {options.extras}/bin/pip install -r benchmarks/requirements.txt"
            )
            print(f"{candidate.title} is skipped because it is not installed; install it: {install}", file=sys.stderr)


def _task(options: argparse.Namespace, aws: LocalAws, name: str) -> Task:
    """Draw and list the images if needed, and return the task of a candidate. `name` is its output folder."""
    images = options.photographs or options.images
    bucket = aws.create_bucket(f"photographs-{images}" if options.photographs else f"images-{images}")
    inventory, folder = options.folder / "inventories" / bucket, aws.s3_folder / bucket
    if not inventory.exists():
        (draw_photographs if options.photographs else draw)(folder, images, options.cores)
        take_inventory(folder, inventory)
    output = options.folder / "candidates" / name
    return Task(bucket, str(inventory), str(folder), str(output), images, options.cores)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.speed", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--images", type=int, default=5_000, help="number of images, up to 90,380 (default: %(default)s)")
    add("--photographs", type=int, help="number of photographs of 12 megapixels, to be used instead of images")
    add("--repeats", type=int, default=3, help="number of repeats (default: %(default)s)")
    add(
        "--jobs",
        type=int,
        default=3,
        help="jobs per session, of which the first is reported apart (default: %(default)s)",
    )
    add("--candidates", nargs="*", choices=_OTHERS, default=_OTHERS, help="besides (a) and (b) (default: all)")
    add("--latency-ms", type=float, default=30.0, help="latency of the proxy; 0 omits it (default: %(default)s)")
    add("--cores", type=int, default=os.cpu_count() or 1, help="cores of each candidate (default: %(default)s)")
    add("--folder", type=lambda path: Path(path).resolve(), default=".local/speed", help="folder of images and results")
    add("--extras", type=lambda path: Path(path).absolute(), default=".local/speed-venv", help="Ray's and Daft's venv")
    return parser


if __name__ == "__main__":
    sys.exit(main())
