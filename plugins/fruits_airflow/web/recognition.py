"""The page that recognises a photo, in Airflow's UI.

It is the page of `fruits serve`. It shows the published run of a data set in the deployment's bucket to users who may
read the DAG of this run. Everything is read through Airflow's AWS connection.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from html import escape
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ClientError

from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read, read_image
from fruits_airflow.web.access import may_read, s3_sentence
from fruits_airflow.web.datasets import UnknownDatasetError, chosen, query_of
from fruits_airflow.web.headers import RECOGNITION_POLICY
from fruits_airflow.web.run_list import read_record
from fruits_features.client.serve.application import routes
from fruits_features.client.serve.limits import Limits, Refusal
from fruits_features.client.serve.service import Service, Visitor
from fruits_features.client.serve.source import MAX_PICTURE_BYTES, Source
from fruits_features.contract.layout import DEFAULT_DATASET, DatasetLayout, split
from include.publication import documents
from include.settings import settings

if TYPE_CHECKING:
    from fruits_features.client.published_run import PublishedRun


MAX_SERVICES = 4
"""Data sets whose runs a process keeps in memory. Each has a child process with the run's projection."""


@dataclass
class _Reader:
    """Reads the published run of a data set. Airflow's connection is read again with each pointer.

    Args:
        dataset: The data set.
    """

    dataset: DatasetLayout
    _s3: S3Hook = field(default_factory=aws.s3)
    _dags: dict[str, str] = field(default_factory=dict)

    def pointer(self) -> Mapping[str, Any]:
        """Return the content of `latest.json`.

        Raises:
            DocumentError: It is damaged.
            FileNotFoundError: Nothing is published.
            OSError: S3 refused the request.
        """
        self._s3 = aws.s3()
        with _explained():
            content = read(self._s3, *split(self.dataset.latest))
        if content is None:
            raise FileNotFoundError(f"There is no published run in {self.dataset}. Trigger the DAG fruits_features.")
        return documents.read_latest(content, self.dataset, datetime.now(UTC))

    def open(self, pointer: Mapping[str, Any]) -> "PublishedRun":
        """Return the run of a pointer. Its parts are read when they are needed."""
        from fruits_features.client.published_run import PublishedRun

        return PublishedRun(pointer, self._read, partial(aws.filesystem, self._s3))

    def fetch(self, path: str) -> bytes | None:
        """Return the content of a training image, or `None` if it is gone or too large."""
        return read_image(self._s3, *split(path), max_bytes=MAX_PICTURE_BYTES)

    def dag_of(self, run: str) -> str | None:
        """Return the id of the DAG that published a run, or `None` if the run's record cannot be read."""
        if run not in self._dags:
            with _explained():
                record = read_record(self._s3, self.dataset.run(run).record)
            if not isinstance(record, dict):
                return None
            self._dags[run] = record["dag"]["dag_id"]
        return self._dags[run]

    def _read(self, uri: str) -> bytes:
        with _explained():
            content = read(self._s3, *split(uri))
        if content is None:
            raise FileNotFoundError(f"{uri} does not exist.")
        return content


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise OSError(s3_sentence(error)) from error


@lru_cache(MAX_SERVICES)
def _reader(dataset: DatasetLayout) -> _Reader:
    return _Reader(dataset)


@lru_cache(MAX_SERVICES)
def _service(dataset: DatasetLayout) -> Service:
    """Return the service of a data set, which a process keeps. The first visitor makes it load the run."""
    reader = _reader(dataset)
    source = Source(reader.pointer, reader.open, reader.fetch)
    return Service(source, Limits(max_pixels=settings().max_image_pixels))


def _chosen_service(dataset: str = DEFAULT_DATASET) -> Service:
    """Return the service of the data set that a URL names.

    Raises:
        Refusal: There is no such data set, or S3 refused to list them.
    """
    try:
        with _explained():
            return _service(chosen(dataset))
    except UnknownDatasetError as error:
        raise Refusal(404, str(error)) from error
    except OSError as error:
        raise Refusal(503, str(error)) from error


def _visitor(user: GetUserDep, dataset: str = DEFAULT_DATASET) -> Visitor:
    """Return the user as the sender of photos to the service of a data set."""

    def may_use(run: str) -> bool:
        dag_id = _reader(chosen(dataset)).dag_of(run)
        return dag_id is not None and may_read(user, dag_id)

    return Visitor(user.get_id(), may_use)


def _navigation(dataset: str = DEFAULT_DATASET) -> str:
    """Return the link to the list of runs of a data set."""
    name = "" if dataset == DEFAULT_DATASET else f" of {escape(dataset)}"
    return f'<nav aria-label="Fruits"><a href="../{query_of(dataset)}">\u2190 Published runs{name}</a></nav>'


router = routes(
    _chosen_service,
    _visitor,
    navigation=_navigation,
    page_headers={"Content-Security-Policy": RECOGNITION_POLICY},
)
