"""Files of a DAG run: the folder of its results, and the logs of its cluster."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, cast

from airflow.models.xcom import XCOM_RETURN_KEY

from fruits_airflow.task_ids import CREATE_CLUSTER, LOGS_LINK_KEY, TAKE_INVENTORY
from fruits_features.contract.layout import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from mypy_boto3_s3 import S3Client

MAX_BYTES = 2**20
"""Largest number of bytes of an object that are shown."""
_GZIP = b"\x1f\x8b"


def folders(pull: Callable[[str, str], Any]) -> list[str]:
    """Return the URIs of the folders that belong to a run, each with a slash at its end.

    Args:
        pull: Function that returns an XCom of the run, given task id and key; `None` if it does not exist.
    """
    run, logs = pull(TAKE_INVENTORY, XCOM_RETURN_KEY), pull(CREATE_CLUSTER, LOGS_LINK_KEY)
    return [
        *([f"{run['uri'].rstrip('/')}/"] if run else []),
        *([f"s3://{logs['bucket']}/{logs['prefix']}"] if logs else []),
    ]


def entries(s3: S3Hook, folder: str) -> list[str]:
    """Return the URIs of the first thousand folders and objects directly below a folder."""
    bucket, prefix = split(folder)
    listed = cast("S3Client", s3.conn).list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/")
    keys = [
        *(entry["Prefix"] for entry in listed.get("CommonPrefixes", ())),
        *(entry["Key"] for entry in listed.get("Contents", ())),
    ]
    return [f"s3://{bucket}/{key}" for key in keys if key != prefix]


def text(content: bytes) -> str:
    r"""Return the beginning of an object as text, decompressed if it is compressed with gzip.

    >>> import gzip
    >>> text(b"plain"), text(gzip.compress(b"packed")), text(b"PAR1\xff")
    ('plain', 'packed', 'PAR1\ufffd')
    """
    if content.startswith(_GZIP):
        content = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(content, MAX_BYTES)
    return content[:MAX_BYTES].decode(errors="replace")
