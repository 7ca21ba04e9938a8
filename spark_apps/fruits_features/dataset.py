"""Opens the tables of the published run, or of an earlier one.

    import polars as pl
    from fruits_features import dataset

    limes = dataset.open("s3://fruits").filter(pl.col("category") == "Limes").collect()
    before = dataset.open("s3://fruits", as_of="2026-11-20").collect()
    vectors, labels = dataset.matrix_and_labels("s3://fruits", split="Training")

Follows `latest.json` and its earlier versions. So it never opens a run that is incomplete or has not passed validation.
Needs polars, pyarrow and obstore. Finds credentials like boto3, which is needed for profiles only, and looks up the
bucket's region.
"""

from datetime import UTC, date, datetime, time
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow.dataset as ds
from numpy.typing import NDArray

from fruits_features.contract import layout, sealed
from fruits_features.contract.sealed import DamagedDocumentError
from fruits_features.io import object_store, s3_access
from fruits_features.io.checked_parquet import CHECKED_PARQUET

_S3 = "s3://"
_MAX_NAMES = 10
"""Largest number of runs that an error message lists."""


class DamagedPointerError(ValueError):
    """The pointer to a run is damaged. The message names the object."""


class NothingPublishedError(FileNotFoundError):
    """The bucket does not contain the requested run. The message names the runs that it contains."""


def published(bucket: str, *, run: str | None = None, as_of: str | date | None = None) -> dict[str, Any]:
    """Return the pointer to a published run: its name, counts, versions, checksums, and the paths of its results.

    Args:
        bucket: `s3://<bucket>`.
        run: Name of a run; the published run by default. Excludes `as_of`.
        as_of: Time as `datetime`, `date` or ISO 8601; selects the run that was published then. A date means the end of
            the day. A time without a time zone is in UTC.

    Raises:
        DamagedPointerError: The pointer to the run is damaged.
        NothingPublishedError: The bucket does not contain the run.
        S3AccessError: There are no credentials, or S3 rejected them.
        ValueError: `run` and `as_of` are both given, or the time cannot be parsed.
    """
    if run is not None and as_of is not None:
        raise ValueError(f"run={run!r} and as_of={as_of!r} exclude each other; give one of them.")
    name = _name(bucket)
    with s3_access.reading(f"s3://{name}/"):
        return _find(name, run, as_of)


def _name(bucket: str) -> str:
    return bucket.removeprefix(_S3).rstrip("/")


def _find(name: str, run: str | None, as_of: str | date | None) -> dict[str, Any]:
    uri = layout.latest(name)
    try:
        latest = _read(uri)
    except FileNotFoundError as error:
        raise NothingPublishedError(
            f"There is no {uri}: run the DAG on this bucket first, or open another bucket."
        ) from error
    if run is not None:
        return latest if latest["run"] == run else _earlier(name, latest, f"the run {run!r}", run=run)
    if as_of is None:
        return latest
    moment = _moment(as_of)
    if datetime.fromisoformat(latest["published_at"]) <= moment:
        return latest
    return _earlier(name, latest, f"a run published by {moment.isoformat()}", until=layout.stamp(moment))


def open(  # noqa: A001 - used with the name of its module, like `gzip.open`
    bucket: str,
    table: Literal["features", "quarantine", "inventory"] = "features",
    *,
    run: str | None = None,
    as_of: str | date | None = None,
) -> pl.LazyFrame:
    """Open a table of a published run lazily. Rows are read when the frame is collected.

    Args:
        bucket: `s3://<bucket>`.
        table: Name of the table. docs/reference/data-dictionary.md lists the columns.
        run: Name of a run; the published run by default. Excludes `as_of`.
        as_of: Time that selects the run published then, as in `published`.

    Raises:
        DamagedPointerError: The pointer to the run is damaged.
        NothingPublishedError: The bucket does not contain the run.
        S3AccessError: There are no credentials, or S3 rejected them.
        ValueError: `run` and `as_of` are both given, or the time cannot be parsed.
    """
    uri = published(bucket, run=run, as_of=as_of)["paths"][table]
    files = s3_access.open_filesystem(_name(bucket))  # Polars requests ranges that some S3 servers reject
    return pl.scan_pyarrow_dataset(ds.dataset(uri.removeprefix(_S3), filesystem=files, format=CHECKED_PARQUET))


def matrix_and_labels(
    bucket: str,
    *,
    split: str | None = None,
    column: Literal["pca", "features"] = "pca",
    run: str | None = None,
    as_of: str | date | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Return the images' vectors and categories of a published run, as classifiers of scikit-learn take them.

    Args:
        bucket: `s3://<bucket>`.
        split: Split to read: Training, Validation or Test. All images by default.
        column: Vectors to read: `pca`, or `features` before the reduction.
        run: Name of a run; the published run by default. Excludes `as_of`.
        as_of: Time that selects the run published then, as in `published`.

    Returns:
        The matrix, n x d, and the n categories. Both are in the order of the rows of `open`.

    Raises:
        DamagedPointerError: The pointer to the run is damaged.
        NothingPublishedError: The bucket does not contain the run.
        S3AccessError: There are no credentials, or S3 rejected them.
        ValueError: The run has no image of the split. Or as for `open`.
    """
    rows = open(bucket, run=run, as_of=as_of).select(column, "category", "split").collect()
    chosen = rows if split is None else rows.filter(pl.col("split") == split)
    if chosen.is_empty():
        splits = ", ".join(rows["split"].drop_nulls().unique().sort()) or "none"
        raise ValueError(f"The run has no images of the split {split!r}. Its splits: {splits}.")
    return np.stack(list(chosen[column].to_numpy())), chosen["category"].to_numpy().astype(np.str_)


def _earlier(
    bucket: str, latest: dict[str, Any], description: str, *, run: str = "", until: str = ""
) -> dict[str, Any]:
    """Read the newest earlier pointer, of a run or until a time.

    Args:
        bucket: Name of the bucket.
        latest: Content of `latest.json`.
        description: Requested run, for the error message.
        run: Name of the run; empty for any.
        until: Latest time of publication, as in file names; empty for any.
    """
    folder = layout.history(bucket)
    pointers = list(object_store.list_files(folder))
    matches = [
        name
        for name in pointers
        if run in {"", layout.published_run(name)} and (not until or name[: len(until)] <= until)
    ]
    if matches:
        return _read(f"{folder}/{matches[-1]}")
    newest = [latest["run"], *map(layout.published_run, reversed(pointers))]
    more = f" and {len(newest) - _MAX_NAMES} more" if len(newest) > _MAX_NAMES else ""
    raise NothingPublishedError(
        f"s3://{bucket} does not contain {description}. Its published runs, newest first: "
        f"{', '.join(newest[:_MAX_NAMES])}{more}."
    )


def _moment(as_of: str | date) -> datetime:
    """Return the time of `as_of`, with a time zone.

    >>> _moment("2026-11-20").isoformat(), _moment("2026-11-20T08:00+01:00").isoformat()
    ('2026-11-20T23:59:59.999999+00:00', '2026-11-20T08:00:00+01:00')
    """
    if isinstance(as_of, str):
        as_of = date.fromisoformat(as_of) if len(as_of) == len("2026-11-20") else datetime.fromisoformat(as_of)
    moment = as_of if isinstance(as_of, datetime) else datetime.combine(as_of, time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read(uri: str) -> dict[str, Any]:
    """Read a pointer.

    Raises:
        DamagedPointerError: It cannot be read, or has other content than was written.
    """
    fix = "restore an earlier version of this object"
    try:
        document = sealed.decode(object_store.read(uri))
    except DamagedDocumentError as error:
        raise DamagedPointerError(f"{uri} is damaged: {error}; {fix}.") from error
    if missing := {"paths", "published_at", "run"} - document.keys():
        raise DamagedPointerError(f"{uri} is damaged: it has no {' and no '.join(sorted(missing))}; {fix}.")
    return document
