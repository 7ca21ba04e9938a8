"""The end of a step's logs, fetched from where EMR puts them, so that a failure can be read in Airflow."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mypy_boto3_emr import EMRClient
    from mypy_boto3_s3 import S3Client

STREAMS = ("stderr", "stdout")
"""In client mode the driver's traceback is in stderr, but the cause is often in stdout."""

TAIL_LINES = 40


def fetch_tails(emr: EMRClient, s3: S3Client, *, cluster_id: str, step_id: str) -> dict[str, str]:
    """The last lines of each stream that EMR has delivered; it delivers some minutes late.

    Args:
        emr: an EMR client.
        s3: an S3 client.
        cluster_id: `j-…`.
        step_id: `s-…`.

    Returns:
        Stream name to text; a stream that is not there (yet) or empty is missing.
    """
    log_uri = emr.describe_cluster(ClusterId=cluster_id)["Cluster"].get("LogUri", "")
    bucket, prefix = urlsplit(log_uri).netloc, urlsplit(log_uri).path.strip("/")
    if not bucket:
        return {}
    folder = f"{prefix}/{cluster_id}/steps/{step_id}/".lstrip("/")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", [])
    tails = {}
    for stream in STREAMS:
        # EMR names them stderr.gz, sometimes stderr.txt.gz
        for key in (entry["Key"] for entry in listed if entry["Key"].removeprefix(folder).startswith(stream)):
            text = gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).decode(errors="replace")
            if text.strip():
                tails[stream] = "\n".join(text.splitlines()[-TAIL_LINES:])
    return tails
