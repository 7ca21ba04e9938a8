"""Features of photographs of fruit: the Spark application that extracts them, and the client of its results.

import fruits_features

fruits = fruits_features.open("s3://fruits")
fruits.recognise("photo.jpg")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from fruits_features.contract.layout import DEFAULT_DATASET

if TYPE_CHECKING:
    from datetime import date

    from fruits_features.client.published_run import PublishedRun

__version__ = "0.1.0.dev0"
"""Version of the project, which `run.json` and the Parquet files carry. `.dev0`: not released (CONTRIBUTING.md)."""


def open(  # noqa: A001 - used with the name of its package, like `gzip.open`
    bucket: str, *, run: str | None = None, as_of: "str | date | None" = None, dataset: str = DEFAULT_DATASET
) -> "PublishedRun":
    """Open a published run, with credentials as boto3 finds them.

    Args:
        bucket: `s3://<bucket>`.
        run: Name of a run; the published run by default. Excludes `as_of`.
        as_of: Time as `datetime`, `date` or ISO 8601; selects the run that was published then.
        dataset: Name of the data set.

    Raises:
        DamagedPointerError: The pointer to the run is damaged.
        NothingPublishedError: The bucket does not contain the run or the data set.
        S3AccessError: There are no credentials, or S3 rejected them.
        ValueError: `bucket` is not the address of a bucket, `dataset` is not the name of a data set, `run` and `as_of`
            are both given, or the time cannot be parsed.
    """
    published_run = import_module("fruits_features.client.published_run")  # loaded on first use: needs more packages
    opened: PublishedRun = published_run.PublishedRun.open(bucket, run=run, as_of=as_of, dataset=dataset)
    return opened
