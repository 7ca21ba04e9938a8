"""The published run, or an earlier one, for those who read it.

    import polars as pl
    from fruits_features import dataset

    limes = dataset.open("s3://fruits").filter(pl.col("category") == "Limes").collect()
    before = dataset.open("s3://fruits", as_of="2026-11-20").collect()

Follows `latest.json`, and what it was before, so that it never sees a run that is half written or has not passed its
validation. Needs polars, pyarrow and obstore; finds S3 and its credentials as the AWS tools do.
"""

import json
import os
from datetime import UTC, date, datetime, time
from typing import Any, Literal
from urllib.parse import urlsplit

import polars as pl
import pyarrow.dataset as ds
from pyarrow.fs import S3FileSystem

from fruits_features.contract import layout
from fruits_features.io import object_store

_S3 = "s3://"
_NAMED = 10
"""So many runs are named when none is found."""


class NothingPublishedError(FileNotFoundError):
    """The bucket has no such run; the message tells the way out."""


def published(bucket: str, *, run: str | None = None, as_of: str | date | None = None) -> dict[str, Any]:
    """Read what a run published: its name, counts, versions, checksums, and the paths of its results.

    Args:
        bucket: `s3://<bucket>`.
        run: a run by its name; the published one by default; or
        as_of: the run that was published at this time, as `datetime`, `date` or ISO 8601. A date stands for its end,
            and a time without a zone for UTC.

    Raises:
        NothingPublishedError: when no such run has been published there.
        ValueError: when both are given, or the time cannot be read.
    """
    if run is not None and as_of is not None:
        raise ValueError(f"run={run!r} and as_of={as_of!r} exclude each other; give one of them.")
    name = bucket.removeprefix(_S3).rstrip("/")
    uri = layout.latest(name)
    try:
        latest = _read(uri)
    except FileNotFoundError as error:
        raise NothingPublishedError(f"There is no {uri}: run the DAG on that bucket first, or name another.") from error
    if run is not None:
        return latest if latest["run"] == run else _earlier(name, latest, f"the run {run!r}", run=run)
    if as_of is None:
        return latest
    moment = _moment(as_of)
    if datetime.fromisoformat(latest["published_at"]) <= moment:
        return latest
    return _earlier(name, latest, f"a run published by {moment.isoformat()}", until=layout.stamp(moment))


def open(  # noqa: A001 - read with its module's name, as `gzip.open`
    bucket: str,
    table: Literal["features", "quarantine", "inventory"] = "features",
    *,
    run: str | None = None,
    as_of: str | date | None = None,
) -> pl.LazyFrame:
    """Open a table of a published run; nothing of it is read before it is collected.

    Args:
        bucket: `s3://<bucket>`.
        table: which one; docs/reference/data-dictionary.md lists their columns.
        run: a run by its name; the published one by default; or
        as_of: the run that was published at this time, as for `published`.

    Raises:
        NothingPublishedError: when no such run has been published there.
        ValueError: when both are given, or the time cannot be read.
    """
    uri = published(bucket, run=run, as_of=as_of)["paths"][table]
    return pl.scan_pyarrow_dataset(ds.dataset(uri.removeprefix(_S3), filesystem=_filesystem(), format="parquet"))


def _earlier(bucket: str, latest: dict[str, Any], wanted: str, *, run: str = "", until: str = "") -> dict[str, Any]:
    """Find the last earlier publication, of a run or until a time."""
    folder = layout.history(bucket)
    there = list(object_store.list_files(folder))
    found = [
        name for name in there if run in {"", layout.published_run(name)} and (not until or name[: len(until)] <= until)
    ]
    if found:
        return _read(f"{folder}/{found[-1]}")
    newest = [latest["run"], *map(layout.published_run, reversed(there))]
    more = f" and {len(newest) - _NAMED} more" if len(newest) > _NAMED else ""
    raise NothingPublishedError(
        f"s3://{bucket} does not hold {wanted}. The published runs that are there, newest first: "
        f"{', '.join(newest[:_NAMED])}{more}."
    )


def _moment(as_of: str | date) -> datetime:
    """Read a time as `published` does.

    >>> _moment("2026-11-20").isoformat(), _moment("2026-11-20T08:00+01:00").isoformat()
    ('2026-11-20T23:59:59.999999+00:00', '2026-11-20T08:00:00+01:00')
    """
    if isinstance(as_of, str):
        as_of = date.fromisoformat(as_of) if len(as_of) == len("2026-11-20") else datetime.fromisoformat(as_of)
    moment = as_of if isinstance(as_of, datetime) else datetime.combine(as_of, time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read(uri: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(object_store.read(uri))
    return document


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
