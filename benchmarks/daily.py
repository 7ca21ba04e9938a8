"""Compare the time of daily reruns with a run from scratch: the table of docs/measurements/speed.md.

    make bench-daily
    PYTHONPATH=.:spark_apps python -m benchmarks.daily --images 20000 --repeats 3

Each row is one Spark step on the local EMR, submitted as by the DAG. Its time is that of the process, from start to
exit, JVM included. The steps of a repeat are:

1. A run from scratch.
2. 1 % of the images are added, 1 % replaced and 1 % removed. One run per value of `refit`, each with the feature cache
   of the first run.
3. A run without changes.
4. The changed bucket from scratch. The runs between are compared with the mean of both runs from scratch, because the
   speed of a machine varies over time.

At the end the complete DAG runs three times on one bucket: from scratch, after the changes of 2, and without changes.
The second run needs no cluster if the new images are fewer than `FRUITS_NO_CLUSTER_BELOW`.
"""

import argparse
import gzip
import json
import os
import random
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from benchmarks.speed.images import PREFIX, draw, take_inventory
from benchmarks.speed.report import about, spread
from fruits_features.contract.arguments import Arguments, Refit
from fruits_features.contract.layout import DatasetLayout
from include.artifacts import bundle
from include.deploy import uploads
from include.dev.dag_runner import dags_test
from include.dev.local_airflow.database import ensure_database
from include.dev.local_aws import deployment
from include.dev.local_aws.emr.states import ACTIVE
from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.state import DEFAULT_BUCKET
from include.emr import requests

if TYPE_CHECKING:
    from mypy_boto3_emr.type_defs import ScriptBootstrapActionConfigTypeDef

CHANGED_SHARE = 0.01
"""Share of the images that are added, and that are replaced, and that are removed."""
LIMITS = {Refit.NEVER: 0.25, Refit.ALWAYS: 0.40}
"""Largest share of the time from scratch."""
FIRST, AGAIN, UNCHANGED = "from scratch", "nothing changed, refit=never", "nothing changed"
CHANGED = "1 % added, replaced, removed"
DAG_LIMITS_S = {CHANGED: 30.0, UNCHANGED: 15.0}
"""Largest total of the tasks' seconds in a run of the DAG."""

_STEP_S = 1800.0
_CHANGE = "1 % added, replaced, removed, refit={}"
_TIMES = re.compile(r"^(\S+) INFO (?:startExec|waitProcessCompletion)", re.MULTILINE)


class DailyError(Exception):
    """A step failed, or extracted other images than the changed ones."""


@dataclass(frozen=True)
class Step:
    """One Spark step.

    Args:
        title: Title of its row.
        repeat: Number of the repeat, from 0.
        seconds: Duration of its process in seconds.
        outcome: Outcome that the application reported.
    """

    title: str
    repeat: int
    seconds: float
    outcome: dict[str, Any]


@dataclass(frozen=True)
class DagRun:
    """One run of the complete DAG.

    Args:
        title: Title of its row.
        images: Number of images in the bucket.
        clusters: Number of clusters that it created.
        task_s: Seconds by task, waiting included.
    """

    title: str
    images: int
    clusters: int
    task_s: dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables and return the exit code."""
    options = _parser().parse_args(argv)
    with LocalAws(options.folder / "aws") as aws:
        deployment.deploy(aws.s3())
        steps = [step for repeat in range(options.repeats) for step in _days(options, aws, repeat)]
        runs = [*_runs_of_the_dag(options, aws)]
    command = shlex.join(["python", "-m", "benchmarks.daily", *(sys.argv[1:] if argv is None else argv)])
    print(f"{datetime.now(UTC):%Y-%m-%d}, `{command}`:", *about(options.repeats), "", sep="\n")
    print(*table(steps), "", *table_of_runs(runs), sep="\n")
    return 0


def table(steps: Sequence[Step]) -> Iterator[str]:
    """Yield the lines of the Markdown table of steps, with medians over the repeats."""
    yield "| Spark step | images | extracted | cached | seconds | share of from scratch | limit |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    limits = {_CHANGE.format(refit): f"{limit:.2f}" for refit, limit in LIMITS.items()}
    first = [step for step in steps if step.title == FIRST]
    scratch_s = {
        repeat: mean(step.seconds for step in first if step.repeat == repeat) for repeat in {s.repeat for s in first}
    }
    for title in dict.fromkeys(step.title for step in steps):
        repeats = [step for step in steps if step.title == title]
        images, reused = repeats[0].outcome["inventoried"], repeats[0].outcome["reused"]
        shares = [step.seconds / scratch_s[step.repeat] for step in repeats]
        seconds = median(step.seconds for step in repeats)
        yield (
            f"| {title} | {images:,} | {images - reused:,} | {reused:,} | {seconds:.1f} | {spread(shares)} "
            f"| {limits.get(title, '')} |"
        )


def table_of_runs(runs: Sequence[DagRun]) -> Iterator[str]:
    """Yield the lines of the Markdown table of DAG runs."""
    yield "| run of the DAG | images | tasks | clusters | seconds of its tasks | limit |"
    yield "|---|--:|--:|--:|--:|--:|"
    for run in runs:
        limit = f"{DAG_LIMITS_S[run.title]:.0f}" if run.title in DAG_LIMITS_S else ""
        yield (
            f"| {run.title} | {run.images:,} | {len(run.task_s)} | {run.clusters} | {sum(run.task_s.values()):.1f} "
            f"| {limit} |"
        )


def _runs_of_the_dag(options: argparse.Namespace, aws: LocalAws) -> Iterator[DagRun]:
    """Run the DAG on a new bucket, three times."""
    home = options.folder / "airflow"
    environment = aws.process_environment | {"AIRFLOW_HOME": str(home)}
    ensure_database(home, environment)
    with _bucket(options, aws, "daily-dag") as bucket:
        for title in (FIRST, CHANGED, UNCHANGED):
            if title == CHANGED:
                _change(bucket / PREFIX, options, round(options.images * CHANGED_SHARE))
            before = _clusters(aws)
            task_s = dict(dags_test({"bucket": bucket.name}, environment, options.folder / "airflow.log"))
            yield DagRun(title, options.images, _clusters(aws) - before, task_s)


def _clusters(aws: LocalAws) -> int:
    return sum(1 for page in aws.emr().get_paginator("list_clusters").paginate() for _ in page["Clusters"])


def _days(options: argparse.Namespace, aws: LocalAws, repeat: int) -> Iterator[Step]:
    """Run the steps of one repeat in a new bucket."""
    changed = round(options.images * CHANGED_SHARE)
    with _bucket(options, aws, f"daily-{repeat}") as bucket:
        first = _step(aws, bucket, "first")
        yield Step(FIRST, repeat, *first)
        _expect(first[1], extracted=options.images)
        published = DatasetLayout(bucket.name).run("first").portable_projection
        cache, before = bucket / "features" / "described", options.folder / "described"
        shutil.copytree(cache, before)
        _change(bucket / PREFIX, options, changed)
        for refit in Refit:
            shutil.rmtree(cache)
            shutil.copytree(before, cache)
            measured = _step(aws, bucket, f"second-{refit}", refit=str(refit), published=published)
            yield Step(_CHANGE.format(refit), repeat, *measured)
            _expect(measured[1], extracted=2 * changed)
        shutil.rmtree(before)
        unchanged = _step(aws, bucket, "third", refit=str(Refit.NEVER), published=published)
        yield Step(AGAIN, repeat, *unchanged)
        _expect(unchanged[1], extracted=0)
        shutil.rmtree(cache)
        last = _step(aws, bucket, "fourth")
        yield Step(FIRST, repeat, *last)
        _expect(last[1], extracted=options.images)


@contextmanager
def _bucket(options: argparse.Namespace, aws: LocalAws, name: str) -> Iterator[Path]:
    """Yield a bucket with images, which are deleted at the end. The images are drawn once."""
    drawn = options.folder / f"drawn-{options.images}"
    draw(drawn, options.images, options.cores)
    bucket = aws.s3_folder / aws.create_bucket(name)
    shutil.rmtree(options.folder / "described", ignore_errors=True)
    for folder in (PREFIX, "features"):
        shutil.rmtree(bucket / folder, ignore_errors=True)
    shutil.copytree(drawn / PREFIX, bucket / PREFIX)
    try:
        yield bucket
    finally:
        for folder in (PREFIX, "features"):
            shutil.rmtree(bucket / folder)


def _change(images: Path, options: argparse.Namespace, count: int) -> None:
    """Add, replace and remove `count` images each. New images are drawn; removed ones are from all folders."""
    spare = options.folder / f"drawn-{options.images}-more"
    draw(spare, options.images + 2 * count, options.cores)
    existing = sorted(path for path in images.rglob("*") if path.is_file())
    known = {path.relative_to(images) for path in existing}
    new = [path for path in sorted((spare / PREFIX).rglob("*.jpg")) if path.relative_to(spare / PREFIX) not in known]
    chosen = random.Random(0).sample(existing, 2 * count)  # noqa: S311 - no secret
    for path in chosen[:count]:
        path.unlink()
    for path, other in zip(chosen[count:], new[:count], strict=True):
        shutil.copyfile(other, path)
    for path in new[count : 2 * count]:
        target = images / path.relative_to(spare / PREFIX)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _step(aws: LocalAws, bucket: Path, run: str, **options: Any) -> tuple[float, dict[str, Any]]:  # noqa: ANN401
    """Take the inventory, run the application as a step, and return its seconds and outcome."""
    layout = DatasetLayout(bucket.name).run(run)
    take_inventory(bucket, bucket / layout.inventory.removeprefix(f"s3://{bucket.name}/"))
    arguments = Arguments(
        bucket=bucket.name,
        inventory=layout.inventory,
        output=layout.prefix,
        run=run,
        store=DatasetLayout(bucket.name).feature_cache,
        **options,
    )
    seconds = _submit(aws, arguments, bucket.name)
    outcome = bucket / layout.outcome.removeprefix(f"s3://{bucket.name}/")
    return seconds, json.loads(outcome.read_bytes())


def _artifacts() -> bundle.ArtifactUris:
    """Return the URIs of the artifacts that `deployment.deploy` uploaded."""
    folder, base = bundle.application_folder(), f"s3://{DEFAULT_BUCKET}/{uploads.PREFIX}"
    wheels = bundle.wheelhouse_name(folder)
    return bundle.uris(bundle.build(folder), base, f"{base}{wheels}")


def _submit(aws: LocalAws, arguments: Arguments, bucket: str) -> float:
    """Run a step on a new cluster and return the seconds of its process, from the controller's log.

    Raises:
        DailyError: The step failed or did not end in time.
    """
    client, uris = aws.emr(), _artifacts()
    install: ScriptBootstrapActionConfigTypeDef = {"Path": uris.bootstrap, "Args": [uris.wheelhouse]}
    cluster = client.run_job_flow(
        Name="daily",
        LogUri=f"s3://{bucket}/logs/",
        Instances={"KeepJobFlowAliveWhenNoSteps": False},
        BootstrapActions=[{"Name": "install", "ScriptBootstrapAction": install}],
        Steps=[requests.featurize_step(arguments, uris)],  # type: ignore[list-item]
    )["JobFlowId"]
    until = time.monotonic() + _STEP_S
    while client.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"] in ACTIVE:
        if time.monotonic() > until:
            raise DailyError(f"The step did not end within {_STEP_S:.0f} s; see {aws.state.clusters / cluster}.")
        time.sleep(0.5)
    (ended,) = client.list_steps(ClusterId=cluster)["Steps"]
    if ended["Status"]["State"] != "COMPLETED":
        raise DailyError(f"The step ended {ended['Status']['State']}; see {aws.state.clusters / cluster}.")
    key = f"logs/{cluster}/steps/{ended['Id']}/controller.gz"
    log = gzip.decompress(aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read()).decode()
    start, end = (datetime.fromisoformat(moment) for moment in _TIMES.findall(log))
    return (end - start).total_seconds()


def _expect(outcome: dict[str, Any], extracted: int) -> None:
    """Check that exactly the new images were extracted.

    Raises:
        DailyError: The number is another.
    """
    actual = outcome["inventoried"] - outcome["reused"]
    if actual != extracted:
        raise DailyError(f"{extracted} images are new, but {actual} were extracted.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.daily", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--images", type=int, default=20_000, help="number of images at first (default: %(default)s)")
    add("--repeats", type=int, default=3, help="number of repeats (default: %(default)s)")
    add("--cores", type=int, default=os.cpu_count() or 1, help="processes that draw images (default: %(default)s)")
    add("--folder", type=lambda path: Path(path).resolve(), default=".local/daily", help="folder of the images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
