"""Objects in S3 through Airflow's connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from fruits_features.contract.layout import latest

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client


class ListingHook(S3Hook):
    """Reaches S3 as its parent does, for listings and nothing else: their times are read quickly."""

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> boto3.Session:  # noqa: FBT001, FBT002
        """Make a session."""
        from include.inventory.listing import read_times_quickly

        session = super().get_session(region_name, deferrable)
        read_times_quickly(session)
        return session


def read(s3: S3Hook, uri: str, etag: str | None = None) -> bytes | None:
    """Read an object; `None` when there is none, or another than the one with this ETag."""
    bucket, key = S3Hook.parse_s3_url(uri)
    try:
        answer = cast("S3Client", s3.conn).get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchBucket", "404"}:
            return None
        raise
    return answer["Body"].read() if etag in {None, answer["ETag"].strip('"')} else None


def read_json(s3: S3Hook, uri: str) -> dict[str, Any]:
    """Read a JSON document; empty when there is none."""
    document: dict[str, Any] = json.loads(read(s3, uri) or b"{}")
    return document


def published_paths(s3: S3Hook, bucket: str) -> dict[str, str]:
    """Return the URIs of the published run's results by name; empty where nothing is published."""
    paths: dict[str, str] = read_json(s3, latest(bucket)).get("paths", {})
    return paths
