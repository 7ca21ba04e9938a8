"""The list of published runs, kept in memory so that many viewers cost no more requests than one.

A published record never changes, so it is read once. The names of the publications and the pointer are read again after
`MAX_AGE_S`. Viewers that come at once wait for one reader.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from fruits_airflow.hooks.s3 import read_json
from fruits_features.contract.layout import (
    RunLayout,
    history,
    latest,
    publication,
    publication_time,
    published_run,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

MAX_RUNS = 100
"""Runs in the list, latest first."""
MAX_CONCURRENT_READS = 10
"""Records that are read concurrently: botocore's default connection pool (`max_pool_connections`)."""
MAX_AGE_S = 10.0
"""Seconds after which the list is read again."""


@dataclass
class RunList:
    """Published runs of one bucket.

    Args:
        bucket: Name of the bucket.
        clock: Function that returns seconds, for tests.
    """

    bucket: str
    clock: Callable[[], float] = time.monotonic
    _read_at: float | None = None
    _published: str | None = None
    _records: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def read(self, connect: Callable[[], S3Hook]) -> tuple[list[dict[str, Any]], str | None]:
        """Return the records of the last runs with their publication time, latest first, and the published run.

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
            return records, self._published

    def _refresh(self, s3: S3Hook) -> None:
        """Read the pointer, the names of the publications, and the records that are not known yet.

        The order comes from the names of the publications, which contain their time. The name of a run contains its
        logical date, which is in the past for a backfill.
        """
        pointer = read_json(s3, latest(self.bucket))
        _, prefix = split(f"{history(self.bucket)}/")
        names = [key.removeprefix(prefix) for key in s3.list_keys(self.bucket, prefix)]
        if pointer:
            names.append(publication("", pointer["published_at"], pointer["run"]).rpartition("/")[2])
        newest = sorted(names, reverse=True)[:MAX_RUNS]
        unknown = [name for name in newest if name not in self._records]
        with ThreadPoolExecutor(MAX_CONCURRENT_READS) as pool:
            records = pool.map(
                lambda name: read_json(s3, RunLayout.of(self.bucket, published_run(name)).record), unknown
            )
        known = self._records | dict(zip(unknown, records, strict=True))
        self._records = {name: known[name] for name in newest if known[name]}
        self._published = pointer.get("run")
