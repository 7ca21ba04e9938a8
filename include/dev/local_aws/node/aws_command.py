"""`aws s3 cp s3://bucket/key FILE`: as much of the AWS CLI, which EMR nodes have, as bootstrap actions need."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def main() -> int:
    """Download one object; the exit code is the AWS CLI's."""
    parser = argparse.ArgumentParser(prog="aws", description=__doc__)
    parser.add_argument("service", choices=["s3"])
    parser.add_argument("command", choices=["cp"])
    parser.add_argument("--only-show-errors", action="store_true")
    parser.add_argument("source")
    parser.add_argument("target")
    options = parser.parse_args()
    place = urlsplit(options.source)
    try:
        boto3.client("s3").download_file(place.netloc, place.path.lstrip("/"), options.target)
    except (BotoCoreError, ClientError, OSError) as error:
        print(f"download failed: {options.source} to {options.target} {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
