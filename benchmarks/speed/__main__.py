"""This application beside other ways to turn images in S3 into features: the table of docs/benchmarks.md.

    make bench
    PYTHONPATH=.:spark_apps python -m benchmarks.speed --images 22400 --repeats 5 --candidates app

Every candidate works on the same distinct images from the same S3 server (the local AWS's rclone), on all cores, in a
fresh process. A run is from reading the inventory to closing the Parquet; starting a session (JVM, Ray) is not timed.
`first` is the first job of the fresh session, `second` the same work again. The application works before and after each
of the others, so that a machine that is now fast, now slow is so for both; and through a proxy too, which adds latency
to every answer, or none.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from benchmarks.speed.images import draw, take_inventory
from benchmarks.speed.ratios import ratios
from benchmarks.speed.report import DIRECT, PROXY, Run, about, table
from benchmarks.speed.sessions import CANDIDATES, Candidate, interpreter, started, work
from benchmarks.speed.task import Task
from include.local_aws.local import LocalAws
from include.local_aws.s3_trouble import S3Trouble

JOBS = ("first", "second")
LIMIT = "plain"
"""What all others are compared with, and so always there."""
OWN = "app"


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
            proxy = stack.enter_context(S3Trouble((host, int(port)), latency_s=added_ms / 1000))
            ways[PROXY.format(added_ms)] = proxy.url
        yield ways


def _measure(options: argparse.Namespace, aws: LocalAws, ways: dict[str, str]) -> Iterator[Run]:
    """Let all candidates work, by turns, in another order each time."""
    present = list(_present(options))
    tasks = {candidate: _task(options, aws, candidate) for candidate in present}
    rounds = [(repeat, *one) for repeat in range(options.repeats) for one in _sessions(present, list(ways), repeat)]
    with tqdm(rounds, unit=" sessions", disable=None) as bar:
        for repeat, candidate, way in bar:
            bar.set_postfix_str(f"{candidate.name}, {way}")
            environment = aws.environment | {"AWS_ENDPOINT_URL_S3": ways[way]}
            with started(candidate, options.extras, tasks[candidate], environment) as process:
                for job in JOBS:
                    _forget(tasks[candidate])
                    use, done = work(process, tasks[candidate])
                    yield Run(candidate.title, way, job, repeat, done.images, use, done.described_s)


def _sessions(present: Sequence[Candidate], ways: Sequence[str], repeat: int) -> Iterator[tuple[Candidate, str]]:
    """Order the sessions of a repeat: the others in another order each time, the application around each of them."""
    own = [candidate for candidate in present if candidate.name == OWN]
    others = [candidate for candidate in present if candidate.name != OWN]
    order = [*own]
    for other in random.Random(repeat).sample(others, len(others)):  # noqa: S311 - no secret
        order += [other, *own]
    yield from ((candidate, DIRECT) for candidate in order)
    if ways[1:]:
        prompt, late = ways[1:]
        yield from ((candidate, way) for candidate in own for way in (prompt, late, prompt))


def _forget(task: Task) -> None:
    """Remove what a job wrote to the bucket: nobody's next one is to pay for that, as no run's does."""
    for written in ("app", "plain"):
        shutil.rmtree(Path(task.folder, written), ignore_errors=True)


def _present(options: argparse.Namespace) -> Iterator[Candidate]:
    """Choose the candidates that are asked for and can run; says how to install what is missing."""
    for candidate in CANDIDATES:
        if candidate.name not in {LIMIT, *options.candidates}:
            continue
        if interpreter(candidate, options.extras).exists():
            yield candidate
        else:
            install = (
                f"python3 -m venv {options.extras} && {options.extras}/bin/pip install -r benchmarks/requirements.txt"
            )
            print(f"{candidate.title} is skipped, as it is not installed: {install}", file=sys.stderr)


def _task(options: argparse.Namespace, aws: LocalAws, candidate: Candidate) -> Task:
    """Draw and list a candidate's images."""
    bucket = aws.create_bucket(f"images-{options.images}")
    inventory, folder = options.folder / "inventories" / str(options.images), aws.s3_folder / bucket
    if not inventory.exists():
        draw(folder, options.images, options.cores)
        take_inventory(folder, inventory)
    output = options.folder / "candidates" / candidate.name
    return Task(bucket, str(inventory), str(folder), str(output), options.images, options.cores)


def _parser() -> argparse.ArgumentParser:
    names = [candidate.name for candidate in CANDIDATES]
    parser = argparse.ArgumentParser("python -m benchmarks.speed", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--images", type=int, default=5_000, help="how many, up to 90,380 (default %(default)s)")
    add("--repeats", type=int, default=3, help="of everything (default %(default)s)")
    add("--candidates", nargs="+", choices=names, default=names, help="which, besides the limit (default: all)")
    add("--latency-ms", type=float, default=30.0, help="added by the proxy; 0 leaves it out (default %(default)s)")
    add("--cores", type=int, default=os.cpu_count() or 1, help="for each candidate (default %(default)s)")
    add("--folder", type=lambda path: Path(path).resolve(), default=".local/speed", help="keeps images and results")
    add("--extras", type=lambda path: Path(path).absolute(), default=".local/speed-venv", help="where Ray and Daft are")
    return parser


if __name__ == "__main__":
    sys.exit(main())
