"""Data sets and the documents of their published runs, through Airflow's connection.

Documents are checked when they are read.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.hooks.s3 import read
from fruits_features.contract.layout import DATASETS_ROOT, DEFAULT_DATASET, dataset_names, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from fruits_features.contract.layout import DatasetLayout

log = logging.getLogger(__name__)


def read_latest(s3: S3Hook, dataset: DatasetLayout) -> dict[str, Any]:
    """Return `latest.json` of a data set, or an empty document when nothing is published.

    Raises:
        AirflowFailException: The document is damaged or in the future. The message names it and the fix.
    """
    content = read(s3, *split(dataset.latest))
    return {} if content is None else parse_latest(content, dataset)


def parse_latest(content: bytes, dataset: DatasetLayout) -> dict[str, Any]:
    """Return `latest.json` from its bytes.

    Raises:
        AirflowFailException: The document is damaged or in the future. The message names it and the fix.
    """
    from include.publication import documents

    try:
        return documents.read_latest(content, dataset, datetime.now(UTC))
    except documents.DocumentError as error:
        raise AirflowFailException(str(error)) from error


def list_datasets(s3: S3Hook, bucket: str) -> list[str]:
    """Return the names of a bucket's data sets, the default one first."""
    root = f"{DATASETS_ROOT}/"
    names = [prefix.removeprefix(root).rstrip("/") for prefix in s3.list_prefixes(bucket, root, "/")]
    return [DEFAULT_DATASET, *dataset_names(names)]


def other_images(s3: S3Hook, published: Mapping[str, Any], dataset: DatasetLayout, prefix: str) -> str | None:
    """Return a problem if the published run of a data set has read another image prefix than a run of it.

    Args:
        s3: Hook that reaches the bucket.
        published: Content of `latest.json`; empty when nothing is published.
        dataset: Data set of both runs.
        prefix: Image prefix of the run.
    """
    before = _prefix_of(s3, published)
    if before in {None, prefix}:
        return None
    return (
        f"The image prefix is {prefix!r}, but the published run {published['run']} of the data set {dataset.name!r} in "
        f"s3://{dataset.bucket} has read {before!r}. Name another data set with the parameter `dataset`, or set "
        "`replace_dataset` to replace this one."
    )


def _prefix_of(s3: S3Hook, published: Mapping[str, Any]) -> str | None:
    """Return the image prefix of the published run; `None` if it is unknown.

    Earlier versions wrote it to `run.json` only.
    """
    inventory = published.get("inventory", {})
    record = {} if "prefix" in inventory else read_published_record(s3, published)
    prefix: str | None = inventory.get("prefix", record.get("recipe", {}).get("image_prefix"))
    return prefix


def read_published_record(s3: S3Hook, published: Mapping[str, Any]) -> dict[str, Any]:
    """Return `run.json` of the published run. Log a warning and return an empty document if it is damaged or missing.

    Args:
        s3: Hook that reaches the bucket.
        published: Content of `latest.json`; empty when nothing is published.
    """
    from include.publication import documents

    if not published:
        return {}
    uri = published["paths"]["run"]
    content = read(s3, *split(uri))
    if content is None:
        log.warning("%s does not exist, so nothing can be compared with it.", uri)
        return {}
    try:
        return documents.read_record(content, uri, published.get("checksums", {}).get("run.json"))
    except documents.DocumentError as error:
        log.warning("%s Nothing is compared with it.", error)
        return {}
