"""Command line `python -m include.dev.local_aws start|stop|status`. Each problem is reported in one line.

Exit codes: 0 success (`status`: running), 1 failure, 3 not running (`status` only).
"""

# ruff: noqa: T201 - printing is what a command line does

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from include.dev.local_aws.errors import LocalAwsError
from include.dev.local_aws.local import LocalAws

DEFAULT_STATE = Path(".local/aws")
NOT_RUNNING = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m include.dev.local_aws",
        description="Local AWS: S3 and EMR on loopback. Objects survive restarts. Clusters, roles and stacks are kept "
        "in memory and end with `stop`.",
    )
    parser.add_argument("command", choices=["start", "stop", "status"], help="status: exit code 0 if it runs, else 3")
    parser.add_argument("--state", type=Path, default=DEFAULT_STATE, help="folder of its state (default: %(default)s)")
    parser.add_argument("--s3-port", type=int, default=4566, help="port of S3 (default: %(default)s; 0: a free one)")
    parser.add_argument(
        "--emr-port", type=int, default=4567, help="port of EMR and IAM (default: %(default)s; 0: a free one)"
    )
    options = parser.parse_args(arguments)
    aws = LocalAws(options.state, s3_port=options.s3_port, emr_port=options.emr_port)
    try:
        return {"start": start, "stop": stop, "status": status}[options.command](aws)
    except LocalAwsError as error:
        print(f"local AWS: {error}", file=sys.stderr)
        return 1


def start(aws: LocalAws) -> int:
    """Start local AWS, or report that it runs."""
    if aws.running():
        print(f"Local AWS already runs from {aws.state.folder}.")
    else:
        aws.start()
        print(f"Local AWS runs from {aws.state.folder}.")
    _print_endpoints(aws)
    print(f"  use it:   . {aws.state.exports}")
    print("  stop it:  python -m include.dev.local_aws stop")
    return 0


def stop(aws: LocalAws) -> int:
    """Stop local AWS with all its clusters and steps."""
    if aws.stop():
        print(f"Local AWS has stopped. Objects stay in {aws.s3_folder}, clusters are gone.")
    else:
        print(f"No local AWS runs from {aws.state.folder}.")
    return 0


def status(aws: LocalAws) -> int:
    """Report whether local AWS runs, its endpoints and its active clusters."""
    if not aws.running():
        print(f"No local AWS runs from {aws.state.folder}.")
        return NOT_RUNNING
    if not aws.answers():
        print(f"Local AWS runs from {aws.state.folder} but does not answer; see {aws.state.log}.")
        return NOT_RUNNING
    print(f"Local AWS runs from {aws.state.folder}.")
    _print_endpoints(aws)
    print(f"  active clusters: {', '.join(aws.active_clusters()) or 'none'}")
    return 0


def _print_endpoints(aws: LocalAws) -> None:
    print(f"  S3:       {aws.environment['AWS_ENDPOINT_URL_S3']}  (objects in {aws.s3_folder})")
    print(f"  EMR, IAM: {aws.environment['AWS_ENDPOINT_URL']}")
