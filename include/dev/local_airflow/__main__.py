"""Command line of `make up` and `make down`: start and stop the local AWS and Airflow's UI together.

Only processes that `start` started are stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from include.dev import local_spark
from include.dev.local_airflow.server import LocalAirflow, LocalAirflowError
from include.dev.local_aws.deployment import deploy
from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.local import LocalAws
from include.dev.spark_standalone import SparkClusterError

ROOT = Path(__file__).resolve().parents[3]
AWS_STATE = ROOT / ".local" / "aws"
HOME = ROOT / ".local" / "airflow"
SPARK = ROOT / ".local" / "spark"

_INTERRUPTED = 130
"""Exit code of a program ended by Ctrl-C: 128 + SIGINT."""


def main(argv: list[str] | None = None) -> int:
    """Start or stop, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m include.dev.local_airflow", description=__doc__)
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("--port", type=int, default=8080, help="port of Airflow's UI (default: %(default)s)")
    parser.add_argument("--spark", action="store_true", help="also start a Spark cluster for fruits_features_spark")
    arguments = parser.parse_args(argv)
    try:
        if arguments.action == "start":
            start(arguments.port, spark=arguments.spark)
        else:
            stop()
    except (LocalAirflowError, LocalAwsError, SparkClusterError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        stop()
        return _INTERRUPTED
    return 0


def start(port: int, *, spark: bool = False) -> None:
    """Start the local AWS, a Spark cluster on request and Airflow, wait until the UI answers, and print its URL.

    Raises:
        LocalAirflowError: The port is in use, or Airflow did not start. No process is left running.
        LocalAwsError: The local AWS did not start.
        SparkClusterError: The Spark cluster did not start.
    """
    aws, airflow = LocalAws(AWS_STATE), LocalAirflow(HOME)
    was_running = aws.running()
    if not was_running:
        aws.start()
    print("Starting Airflow …", flush=True)
    try:
        deploy(aws.s3())
        if spark:
            local_spark.start(SPARK, aws)
        address = airflow.start(port, os.environ | aws.environment | local_spark.driver_environment(SPARK, aws))
    except BaseException:
        if not was_running:
            aws.stop()
        raise
    login = "   ".join(f"user {user}, password {password}" for user, password in airflow.passwords().items())
    print(f"Airflow's UI: {address}   {login}")
    print(f"Local AWS:    source {(AWS_STATE / 'environment.sh').relative_to(ROOT)}")
    print("Stop both with `make down`.")


def stop() -> None:
    """Stop Airflow and the local AWS, if they run."""
    stopped = LocalAirflow(HOME).stop()
    stopped |= LocalAws(AWS_STATE).stop()
    print("Stopped." if stopped else "Nothing was running.")


if __name__ == "__main__":
    sys.exit(main())
