"""The published run, for those who read it.

    import polars as pl
    from fruits_features import dataset

    limes = dataset.open("s3://fruits").filter(pl.col("category") == "Limes").collect()

Follows `latest.json`, so that it never sees a run that is half written or has not passed its validation. Needs polars,
pyarrow and obstore; finds S3 and its credentials as the AWS tools do.
"""

import json
import os
from typing import Any, Literal
from urllib.parse import urlsplit

import polars as pl
import pyarrow.dataset as ds
from pyarrow.fs import S3FileSystem

from fruits_features import layout, storage

_S3 = "s3://"


class NothingPublishedError(FileNotFoundError):
    """The bucket has no published run; the message tells the way out."""


def published(bucket: str) -> dict[str, Any]:
    """Read `latest.json`: the published run's name, counts, versions, checksums, and the paths of its results.

    Args:
        bucket: `s3://<bucket>`.

    Raises:
        NothingPublishedError: when no run has been published there.
    """
    uri = layout.latest(bucket.removeprefix(_S3).rstrip("/"))
    try:
        latest: dict[str, Any] = json.loads(storage.read(uri))
    except FileNotFoundError as error:
        raise NothingPublishedError(f"There is no {uri}: run the DAG on that bucket first, or name another.") from error
    return latest


def open(  # noqa: A001 - read with its module's name, as `gzip.open`
    bucket: str, table: Literal["features", "quarantine", "inventory"] = "features"
) -> pl.LazyFrame:
    """Open a table of the published run; nothing of it is read before it is collected.

    Args:
        bucket: `s3://<bucket>`.
        table: which one; docs/data-dictionary.md lists their columns.

    Raises:
        NothingPublishedError: when no run has been published there.
    """
    uri = published(bucket)["paths"][table]
    return pl.scan_pyarrow_dataset(ds.dataset(uri.removeprefix(_S3), filesystem=_filesystem(), format="parquet"))


def _filesystem() -> S3FileSystem:
    """Open S3 through pyarrow: Polars' own client asks for whole small objects as ranges, which some servers refuse.

    pyarrow finds credentials, region and address by itself, but at an address of the environment it takes buckets for
    hosts. So the address is handed to it, by the variables that all AWS tools have in common.
    """
    address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not address:
        return S3FileSystem()
    found = urlsplit(address)
    return S3FileSystem(scheme=found.scheme, endpoint_override=found.netloc)
