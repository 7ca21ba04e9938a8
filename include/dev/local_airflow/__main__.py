"""Command line of `make up` and `make down`: start and stop the local AWS and Airflow's UI together.

Only processes that `start` started are stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from include.dev import local_spark
from include.dev.local_airflow import database
from include.dev.local_airflow.server import LocalAirflow, LocalAirflowError, require_free
from include.dev.local_aws.deployment import deploy, prepare_nodes
from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.local import LocalAws
from include.dev.spark_standalone import SparkClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[3]
AWS_STATE = ROOT / ".local" / "aws"
HOME = ROOT / ".local" / "airflow"
SPARK = ROOT / ".local" / "spark"

_INTERRUPTED = 130
"""Exit code of a program ended by Ctrl-C: 128 + SIGINT."""


def main(argv: list[str] | None = None) -> int:
    """Start or stop, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m include.dev.local_airflow",
        description="Start or stop the local AWS and Airflow's UI together. Active runs end when Airflow is stopped.",
    )
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--port", default="8080", help="port of Airflow's UI (default: %(default)s)")
    parser.add_argument("--spark", action="store_true", help="also start a Spark cluster for fruits_features_spark")
    arguments = parser.parse_args(argv)
    try:
        if arguments.action == "start":
            start(_port(arguments.port), spark=arguments.spark)
        else:
            stop()
    except (LocalAirflowError, LocalAwsError, SparkClusterError, database.AirflowDatabaseError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return _INTERRUPTED
    return 0


def start(port: int, *, spark: bool = False) -> None:
    """Start the local AWS, a Spark cluster on request and Airflow, wait until the UI answers, and print its URL.

    Raises:
        LocalAirflowError: The port cannot be used, or Airflow did not start. No process is left running.
        LocalAwsError: The local AWS did not start.
        AirflowDatabaseError: Airflow's database is not usable.
        SparkClusterError: The Spark cluster did not start.
    """
    aws, airflow = LocalAws(AWS_STATE), LocalAirflow(HOME)
    running_at = airflow.address()
    if not running_at:
        require_free(port)
    was_running = aws.running()
    if not was_running:
        aws.start()
    print(f"Airflow already runs at {running_at}." if running_at else "Starting Airflow …", flush=True)
    try:
        environment = aws.process_environment
        deploy(aws.s3())
        prepare_nodes(aws.emr())  # while Airflow starts
        if spark:
            local_spark.start(SPARK, aws)
        environment |= local_spark.driver_environment(SPARK, aws)
        if not running_at:
            _close_left_runs(environment, clusters_are_gone=not was_running)
        address = airflow.start(port, environment)
    except BaseException:
        if not was_running:
            aws.stop()
        raise
    login = "   ".join(f"user {user}, password {password}" for user, password in airflow.passwords().items())
    print(f"Airflow's UI: {address}   {login}")
    print(f"Local AWS:    source {(AWS_STATE / 'environment.sh').relative_to(ROOT)}")
    print("Stop both with `make down`.")


def stop() -> None:
    """Stop Airflow and the local AWS, if they run. Active runs fail now, because their clusters end."""
    airflow, aws = LocalAirflow(HOME), LocalAws(AWS_STATE)
    was_running = airflow.address() is not None
    for run in database.running(HOME) if was_running else []:
        print(f"Run {run.run_id} of {run.dag_id} is active; it ends now and is marked as failed.", flush=True)
    airflow.stop()
    active = database.running(HOME) if was_running else []
    if active:
        database.close(active, HOME, os.environ, "--keep-clusters", "--note", "`make down` stopped Airflow.")
    print("Stopped." if aws.stop() or was_running else "Nothing was running.")


def _close_left_runs(environment: Mapping[str, str], *, clusters_are_gone: bool) -> None:
    """Close the runs that Airflow would not finish: of a killed `airflow dags test`, and without their clusters."""
    left = database.running(HOME) if clusters_are_gone else database.left_by_dags_test(HOME)
    if left:
        database.ensure_database(HOME, environment)
        database.close(left, HOME, environment, "--note", "The process that ran it, or its cluster, was gone.")
        for run in left:
            print(f"Run {run.run_id} of {run.dag_id} was left unfinished and is marked as failed.")


def _port(text: str) -> int:
    if not text.isdecimal():
        raise LocalAirflowError(f"Port {text!r} is not a number; choose another: `make up PORT=…`.")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
