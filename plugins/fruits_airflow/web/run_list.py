"""The list of a data set's published runs, kept in memory so that many viewers cost no more requests than one.

A published record never changes, so it is read once. The names of data sets and publications and the pointer are read
again after `MAX_AGE_S`. Viewers that come at once wait for one reader. Objects that cannot be used are skipped with a
note.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from fruits_airflow.hooks.documents import list_datasets
from fruits_airflow.hooks.s3 import read
from fruits_features.contract.layout import (
    publication_time,
    published_run,
    split,
)
from include.publication import documents

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from fruits_features.contract.layout import DatasetLayout

MAX_RUNS = 100
"""Runs in the list, latest first."""
MAX_NOTES = 20
"""Notes on skipped objects in the list."""
MAX_CONCURRENT_READS = 10
"""Records that are read concurrently: botocore's default connection pool (`max_pool_connections`)."""
MAX_AGE_S = 10.0
"""Seconds after which the list is read again."""


@dataclass(frozen=True)
class ListedRuns:
    """Content of the list.

    Args:
        records: Records of the last runs with their publication time, latest first.
        published: Name of the published run; `None` if there is none, or `latest.json` cannot be used.
        notes: Sentences that name the objects that were skipped.
        datasets: Names of the bucket's data sets, the default one first.
    """

    records: list[dict[str, Any]]
    published: str | None
    notes: list[str]
    datasets: list[str]


@dataclass
class RunList:
    """Published runs of one data set.

    Args:
        dataset: The data set.
        clock: Function that returns seconds, for tests.
    """

    dataset: DatasetLayout
    clock: Callable[[], float] = time.monotonic
    _read_at: float | None = None
    _published: str | None = None
    _records: dict[str, dict[str, Any]] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _datasets: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def read(self, connect: Callable[[], S3Hook]) -> ListedRuns:
        """Return the last runs.

        Args:
            connect: Function that returns S3. It is called if the list is too old.

        Raises:
            ClientError: S3 refused a request. The next viewer tries again.
        """
        with self._lock:
            if self._read_at is None or self.clock() - self._read_at >= MAX_AGE_S:
                self._refresh(connect())
                self._read_at = self.clock()
            records = [{**record, "published_at": publication_time(name)} for name, record in self._records.items()]
            return ListedRuns(records, self._published, self._notes, self._datasets)

    def _refresh(self, s3: S3Hook) -> None:
        """Read the pointer, the names of the publications, and the records that are not known yet.

        The order comes from the names of the publications, which contain their time. The name of a run contains its
        logical date, which is in the past for a backfill.
        """
        pointer, notes = _read_pointer(s3, self.dataset)
        bucket, prefix = split(f"{self.dataset.history}/")
        names = {key.removeprefix(prefix) for key in s3.list_keys(bucket, prefix)}
        if pointer:  # older versions of the pipeline wrote no copy
            names.add(self.dataset.publication(pointer["published_at"], pointer["run"]).rpartition("/")[2])
        pointers = set(filter(_is_pointer, names))
        others = [f"s3://{bucket}/{prefix}{name} is not a pointer to a run." for name in sorted(names - pointers)]
        newest = sorted(pointers, reverse=True)[:MAX_RUNS]
        unknown = [name for name in newest if name not in self._records]
        with ThreadPoolExecutor(MAX_CONCURRENT_READS) as pool:
            read_records = pool.map(lambda name: read_record(s3, self.dataset.run(published_run(name)).record), unknown)
            found = dict(zip(unknown, read_records, strict=True))
        known = self._records | {name: record for name, record in found.items() if isinstance(record, dict)}
        damaged = [note for note in found.values() if isinstance(note, str)]
        self._records = {name: known[name] for name in newest if name in known}
        self._notes = [*notes, *others, *damaged][:MAX_NOTES]
        self._published = pointer.get("run")
        self._datasets = list_datasets(s3, bucket)


def read_record(s3: S3Hook, uri: str) -> dict[str, Any] | str | None:
    """Return the record of a run, `None` if it does not exist, or a note if it is damaged."""
    content = read(s3, *split(uri))
    if content is None:
        return None
    try:
        return documents.read_record(content, uri)
    except documents.DocumentError as error:
        return str(error)


def _read_pointer(s3: S3Hook, dataset: DatasetLayout) -> tuple[dict[str, Any], list[str]]:
    """Return `latest.json`, empty if nothing is published or it cannot be used, and a note in the latter case."""
    content = read(s3, *split(dataset.latest))
    if content is None:
        return {}, []
    try:
        return documents.read_latest(content, dataset, datetime.now(UTC)), []
    except documents.DocumentError as error:
        return {}, [str(error)]


def _is_pointer(name: str) -> bool:
    """Return whether a file name is that of a pointer, which begins with a time."""
    try:
        publication_time(name)
    except ValueError:
        return False
    return True
