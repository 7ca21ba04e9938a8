"""Command `aws s3 cp s3://bucket/key FILE`: the part of the AWS CLI of EMR nodes that bootstrap actions use."""

from __future__ import annotations

import argparse
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def main() -> int:
    """Download one object and return the AWS CLI's exit code."""
    parser = argparse.ArgumentParser(prog="aws", description=__doc__)
    parser.add_argument("service", choices=["s3"])
    parser.add_argument("command", choices=["cp"])
    parser.add_argument("--only-show-errors", action="store_true")
    parser.add_argument("source")
    parser.add_argument("target")
    options = parser.parse_args()
    bucket, _, key = options.source.removeprefix("s3://").partition("/")
    try:
        boto3.client("s3").download_file(bucket, key, options.target)
    except (BotoCoreError, ClientError, OSError) as error:
        print(f"download failed: {options.source} to {options.target} {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
