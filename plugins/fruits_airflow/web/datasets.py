"""The data set that the query of a page's URL names: `?dataset=citrus`."""

from functools import lru_cache
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends

from fruits_airflow.hooks import aws
from fruits_airflow.web.run_list import RunList
from fruits_features.contract.layout import DEFAULT_DATASET, DatasetLayout
from include.settings import settings

MAX_LISTS = 64
"""Lists of runs that a process keeps in memory, one per data set."""


class UnknownDatasetError(Exception):
    """The deployment's bucket has no such data set. The message names those that it has."""


@lru_cache(MAX_LISTS)
def run_list(dataset: DatasetLayout) -> RunList:
    """Return the list of a data set's runs, which a process keeps."""
    return RunList(dataset)


def chosen(dataset: str = DEFAULT_DATASET) -> DatasetLayout:
    """Return a data set of the deployment's bucket.

    Args:
        dataset: Name of the data set, from the query of the URL.

    Raises:
        ClientError: S3 refused to list the data sets.
        UnknownDatasetError: The bucket has no such data set.
    """
    default = DatasetLayout(settings().bucket)
    if dataset == DEFAULT_DATASET:
        return default
    known = run_list(default).read(aws.s3).datasets
    if dataset not in known:
        raise UnknownDatasetError(f"{default} has no data set {dataset!r}. Its data sets: {', '.join(known)}.")
    return DatasetLayout(default.bucket, dataset)


ChosenDataset = Annotated[DatasetLayout, Depends(chosen)]


def query_of(dataset: str) -> str:
    """Return the query that names a data set in URLs, which is empty for the default one.

    >>> query_of("default"), query_of("citrus")
    ('', '?dataset=citrus')
    """
    return "" if dataset == DEFAULT_DATASET else f"?{urlencode({'dataset': dataset})}"
