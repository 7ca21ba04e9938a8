"""Published runs of a data set: the pointer to the current one, its earlier versions, and their list.

Needs obstore only. Finds credentials like boto3, which is needed for profiles only. Looks up the bucket's region if
pyarrow is installed.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from obstore.exceptions import BaseError

from fruits_features import __version__
from fruits_features.contract import layout, sealed
from fruits_features.contract.layout import DATASETS_ROOT, DEFAULT_DATASET, DOCUMENT_FORMAT, DatasetLayout
from fruits_features.contract.sealed import DamagedDocumentError
from fruits_features.io import object_store, s3_access
from fruits_features.io.object_store import READER_RETRIES

_S3 = "s3://"
_MAX_NAMES = 10
"""Largest number of names that an error message lists."""


class DamagedPointerError(ValueError):
    """The pointer to a run is damaged, or a newer version wrote it. The message names the object."""


class NothingPublishedError(FileNotFoundError):
    """The bucket does not contain the requested run or data set. The message names those that it contains."""


@dataclass(frozen=True)
class Publication:
    """One publication of a run.

    Args:
        run: Name of the run.
        published_at: Time of the publication.
    """

    run: str
    published_at: datetime


def published(
    bucket: str, *, run: str | None = None, as_of: str | date | None = None, dataset: str = DEFAULT_DATASET
) -> dict[str, Any]:
    """Return the pointer to a published run: its name, counts, versions, checksums, and the paths of its results.

    Args:
        bucket: `s3://<bucket>`.
        run: Name of a run; the published run by default. Excludes `as_of`.
        as_of: Time as `datetime`, `date` or ISO 8601; selects the run that was published then. A date means the end of
            the day. A time without a time zone is in UTC.
        dataset: Name of the data set.

    Raises:
        DamagedPointerError: The pointer to the run is damaged.
        NothingPublishedError: The bucket does not contain the run or the data set.
        S3AccessError: There are no credentials, or S3 rejected them.
        ValueError: `bucket` is not the address of a bucket, `dataset` is not the name of a data set, `run` and `as_of`
            are both given, or the time cannot be parsed.
    """
    if run is not None and as_of is not None:
        raise ValueError(f"run={run!r} and as_of={as_of!r} exclude each other; give one of them.")
    place = DatasetLayout(name_of(bucket), dataset)
    s3_access.check_endpoint()
    with s3_access.reading(f"s3://{place.bucket}/"):
        return _find(place, run, as_of)


def name_of(bucket: str) -> str:
    """Return the name of a bucket from its address.

    Raises:
        ValueError: It is not the address of a bucket.

    >>> name_of("s3://fruits/")
    'fruits'
    """
    name = bucket.removeprefix(_S3).rstrip("/") if isinstance(bucket, str) else ""
    if not re.fullmatch(layout.BUCKET_PATTERN, name):
        raise ValueError(f"{bucket!r} is not the address of a bucket; write s3://<bucket>.")
    return name


def _find(dataset: DatasetLayout, run: str | None, as_of: str | date | None) -> dict[str, Any]:
    try:
        latest = _read(dataset.latest)
    except FileNotFoundError as error:
        raise NothingPublishedError(f"There is no {dataset.latest}: {_way_out(dataset.bucket)}.") from error
    if run is not None:
        return latest if latest["run"] == run else _earlier(dataset, latest, f"the run {run!r}", run=run)
    if as_of is None:
        return latest
    moment = _moment(as_of)
    if datetime.fromisoformat(latest["published_at"]) <= moment:
        return latest
    return _earlier(dataset, latest, f"a run published by {moment.isoformat()}", until=moment)


def _way_out(bucket: str) -> str:
    """Return what to do about a data set without a published run."""
    names = [DEFAULT_DATASET]
    with suppress(BaseError):  # no bucket, or no permission to list it
        names += layout.dataset_names(object_store.list_folders(f"{_S3}{bucket}/{DATASETS_ROOT}", READER_RETRIES))
    known = [name for name in names if object_store.exists(DatasetLayout(bucket, name).latest, READER_RETRIES)]
    if known:
        return f"open another data set of this bucket ({_shorten(known)}), or run the DAG on this data set first"
    return "run the DAG on this bucket first, or open another bucket"


def _shorten(names: list[str]) -> str:
    """Return the first names as text, and the number of the others."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more}"


def publications(bucket: str, *, dataset: str = DEFAULT_DATASET) -> list[Publication]:
    """Return the publications of a data set: the current one, then the others, the newest first.

    Args:
        bucket: `s3://<bucket>`.
        dataset: Name of the data set.

    Raises:
        DamagedPointerError: The pointer to the run is damaged.
        NothingPublishedError: Nothing is published in the data set.
        S3AccessError: There are no credentials, or S3 rejected them.
        ValueError: `bucket` is not the address of a bucket, or `dataset` is not the name of a data set.
    """
    place = DatasetLayout(name_of(bucket), dataset)
    s3_access.check_endpoint()
    with s3_access.reading(f"s3://{place.bucket}/"):
        latest = _find(place, None, None)
        pointers = reversed(_history(place, latest))
        others = [Publication(layout.published_run(one), layout.publication_time(one)) for one in pointers]
    return [Publication(latest["run"], datetime.fromisoformat(latest["published_at"])), *others]


def _history(dataset: DatasetLayout, latest: dict[str, Any]) -> list[str]:
    """Return the names of the other pointers, the oldest first. Foreign objects in their folder are left out.

    Args:
        dataset: Data set.
        latest: Content of `latest.json`, whose copy in the folder is left out.
    """
    current = dataset.publication(latest["published_at"], latest["run"]).rpartition("/")[2]
    return [name for name in object_store.list_files(dataset.history, ".json", READER_RETRIES) if name != current]


def _earlier(
    dataset: DatasetLayout, latest: dict[str, Any], description: str, *, run: str = "", until: datetime | None = None
) -> dict[str, Any]:
    """Read the newest earlier pointer, of a run or until a time.

    Args:
        dataset: Data set.
        latest: Content of `latest.json`.
        description: Requested run, for the error message.
        run: Name of the run; empty for any.
        until: Latest time of publication; `None` for any.
    """
    pointers = _history(dataset, latest)
    matches = [
        name
        for name in pointers
        if run in {"", layout.published_run(name)} and (until is None or layout.publication_time(name) <= until)
    ]
    if matches:
        return _read(f"{dataset.history}/{matches[-1]}")
    newest = [latest["run"], *map(layout.published_run, reversed(pointers))]
    raise NothingPublishedError(
        f"{dataset} does not contain {description}. Its published runs, newest first: {_shorten(newest)}."
    )


def _moment(as_of: str | date) -> datetime:
    """Return the time of `as_of`, with a time zone.

    Raises:
        ValueError: It cannot be parsed.

    >>> _moment("2026-11-20").isoformat(), _moment("2026-11-20T08:00+01:00").isoformat()
    ('2026-11-20T23:59:59.999999+00:00', '2026-11-20T08:00:00+01:00')
    """
    if not isinstance(as_of, date):
        as_of = _parse(as_of)
    moment = as_of if isinstance(as_of, datetime) else datetime.combine(as_of, time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse(as_of: str) -> date:
    """Return the date or the `datetime` of a text in ISO 8601. `datetime` reads dates too, as their midnight.

    Raises:
        ValueError: It is neither.
    """
    with suppress(TypeError, ValueError):
        return date.fromisoformat(as_of)
    try:
        return datetime.fromisoformat(as_of)
    except (TypeError, ValueError) as error:  # a number is of the wrong type
        raise ValueError(f"as_of={as_of!r} is not a time: write '2026-11-20', or '2026-11-20T08:00+01:00'.") from error


def _read(uri: str) -> dict[str, Any]:
    """Read a pointer.

    Raises:
        DamagedPointerError: It cannot be read, has other content than was written, or is of a newer version.
    """
    fix = "restore an earlier version of this object"
    try:
        document = sealed.decode(object_store.read(uri, READER_RETRIES))
    except DamagedDocumentError as error:
        raise DamagedPointerError(f"{uri} is damaged: {error}; {fix}.") from error
    if document.get("format", DOCUMENT_FORMAT) != DOCUMENT_FORMAT:
        raise DamagedPointerError(
            f"{uri} has the format {document['format']}, and this version {__version__} of fruits-features reads "
            f"{DOCUMENT_FORMAT}; install the version of the pipeline that published the run."
        )
    if missing := {"paths", "published_at", "run"} - document.keys():
        raise DamagedPointerError(f"{uri} is damaged: it has no {' and no '.join(sorted(missing))}; {fix}.")
    return document
