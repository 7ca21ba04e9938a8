"""`make demo`: run the complete pipeline on this machine and print a summary of the results.

The steps are the local AWS, sample images, `airflow dags test` as in CI, and the summary. Users can run each step as a
command. All started processes are stopped at the end, even after an error. Images and results stay below `.local/`.
`include.dev.prerequisites` checks the machine.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from fruits_features.contract import layout
from include.dev.dag_runner import DagsTestError, dags_test
from include.dev.local_airflow.database import AirflowDatabaseError, ensure_database
from include.dev.local_aws.deployment import deploy, prepare_nodes
from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.processes import end, tree
from include.dev.local_aws.state import DEFAULT_BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
LOG = LOCAL / "demo.log"
PHOTO = LOCAL / "images" / "Test" / "Banana" / "3_100.jpg"
"""Sample image that the published run recognises at the end, and that the documents recognise."""

_INTERRUPTED = 130


class DemoError(Exception):
    """The demo cannot continue. The message names the remedy."""


@dataclass(frozen=True)
class Finished:
    """Content of the summary: the published run, its folder, a recognised photo, and the duration."""

    run: dict[str, Any]
    s3_folder: Path
    recognised: str
    total_s: float


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    argparse.ArgumentParser(
        prog="python -m include.dev.demo",
        description="Draw 644 images of fruits, run the complete pipeline on them on this machine, and show the result."
        " Takes about two minutes. Images and results stay below .local/. Ctrl-C ends everything that it started.",
    ).parse_args(argv)
    started = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        with _local_aws() as aws:
            environment = aws.process_environment
            deploy(aws.s3())
            prepare_nodes(aws.emr())  # while the images are drawn and Airflow's database is created
            _say("Sample images")
            _command("include.dev.sample_images", str(LOCAL / "images"), environment=environment)
            _command(
                "include.deploy.upload_images",
                str(LOCAL / "images"),
                f"s3://{DEFAULT_BUCKET}/images/",
                environment=environment,
            )
            _say("Airflow")
            ensure_database(LOCAL / "airflow", environment)
            _dags_test(environment)
            recognised = _recognise(PHOTO, environment)
            finished = Finished(_published(aws), aws.s3_folder, recognised, time.monotonic() - started)
        print(_summary(finished))
    except (DemoError, DagsTestError, LocalAwsError, AirflowDatabaseError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.strerror or error} ({error.filename or ROOT}); fix this and run the demo again.")
    except KeyboardInterrupt:
        _fail("stopped; run it again to continue.")
        return _INTERRUPTED
    return 0


@contextmanager
def _local_aws() -> Iterator[LocalAws]:
    """Yield the local AWS of this checkout: the running one, or one that ends with the demo."""
    aws = LocalAws(LOCAL / "aws")
    if aws.running():
        _say("Local AWS already runs")
        yield aws
        return
    _say("Local AWS")
    with aws:
        yield aws


def _command(module: str, *arguments: str, environment: dict[str, str]) -> None:
    """Run a command of this project, which prints its own progress and errors.

    Raises:
        DemoError: The command failed.
    """
    command = [sys.executable, "-m", module, *arguments]
    # In a session of its own, so that Ctrl-C reaches the demo only, which then ends the command.
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:  # noqa: S603 - our own modules
        started = psutil.Process(process.pid)  # an interrupted `wait` may end after the command, whose id is then gone
        try:
            process.wait()
        except BaseException:
            end(tree(started), grace_s=5)
            raise
    if process.returncode:
        raise DemoError(f"`python -m {module}` failed; see the line above.")


def _dags_test(environment: dict[str, str]) -> None:
    """Run the DAG once, and print its tasks with their duration as they end."""
    for task, seconds in dags_test({"force": True}, environment, LOG):  # force: the demo may run repeatedly
        print(f"    {task:<22}{seconds:6.1f} s", flush=True)


def _recognise(photo: Path, environment: dict[str, str]) -> str:
    """Recognise a photo with the published run, and return its category with the probability.

    Raises:
        DemoError: The photo was not recognised.
    """
    arguments = ["recognise", f"s3://{DEFAULT_BUCKET}", str(photo), "--top", "1"]
    command = [sys.executable, "-m", "fruits_features.client.cli", *arguments]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if ran.returncode:
        raise DemoError(ran.stderr.strip())
    probability, category = ran.stdout.splitlines()[1].split(maxsplit=1)
    return f"{photo.relative_to(ROOT)}: {category} ({probability})"


def _published(aws: LocalAws) -> dict[str, Any]:
    """Return `run.json` of the published run, found through `latest.json` as readers find it."""
    pointer = _read_json(aws, layout.DatasetLayout(DEFAULT_BUCKET).latest)
    return _read_json(aws, pointer["paths"]["run"])


def _read_json(aws: LocalAws, uri: str) -> dict[str, Any]:
    key = uri.removeprefix(f"s3://{DEFAULT_BUCKET}/")
    document: dict[str, Any] = json.loads(aws.s3().get_object(Bucket=DEFAULT_BUCKET, Key=key)["Body"].read())
    return document


def _summary(finished: Finished) -> str:
    run, counts, projection = finished.run, finished.run["counts"], finished.run["projection"]
    images = run["inventory"]
    lines = [
        "",
        f"Run {run['run']} is published.",
        "",
        (
            f"  images in           {images['images']:>8,}   {images['size_bytes'] / 1e6:.1f} MB, "
            f"{images['categories']} categories"
        ),
        (
            f"  rows out            {counts['features']:>8,}   "
            f"{run['work']['described']:,} images extracted, {run['work']['reused']:,} read from the feature cache"
        ),
        f"  quarantined         {counts['quarantine']:>8,}",
        (
            f"  PCA components      {projection['components']:>8,}   "
            f"{projection['explained_variance']:.1%} of the variance explained, version {projection['version']}"
        ),
        _checks(run["checks"]),
        f"  seconds             {finished.total_s:>8,.0f}   with the start of the local AWS and the sample images",
        "",
        "  Files (on this disk below " + str(finished.s3_folder.relative_to(ROOT)) + "/):",
        *(f"    {name:<18}{uri}" for name, uri in run["paths"].items()),
        f"    {'pointer':<18}{layout.DatasetLayout(DEFAULT_BUCKET).latest}",
        "",
        "Open the report in a browser:",
        f"  {_on_disk(finished, run['paths']['report']).as_uri()}",
        "",
        "Next: `make up` shows the same DAG in Airflow's UI. A new run there skips its tasks, because these images are",
        'published already. Choose "Run even if nothing has changed" in the trigger form to run it again.',
        "",
        f"Recognised {finished.recognised}",
        "docs/guides/recognise.md: recognise your own photographs.",
    ]
    return "\n".join(lines)


def _checks(checks: list[dict[str, Any]]) -> str:
    """Return the line about the checks. Checks with nothing to check are counted apart."""
    outcomes = Counter("passed" if check["passed"] else check["severity"] for check in checks)
    others = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()) if outcome != "passed")
    return f"  checks passed       {outcomes['passed']:>8,}" + (f"   {others}" if others else "")


def _on_disk(finished: Finished, uri: str) -> Path:
    return finished.s3_folder / uri.removeprefix("s3://")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Stop the demo. A second Ctrl-C does not wait until Airflow has closed the run."""
    for other in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(f"\n{signal.Signals(number).name}: stopping what the demo started …", file=sys.stderr, flush=True)
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(f"→ {text}", flush=True)


def _fail(text: str) -> int:
    print(f"demo: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
