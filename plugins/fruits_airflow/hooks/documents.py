"""Reading the documents of published runs through Airflow's connection. They are checked when they are read."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.hooks.s3 import read
from fruits_features.contract.layout import latest, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)


def read_latest(s3: S3Hook, bucket: str) -> dict[str, Any]:
    """Return `latest.json`, or an empty document when nothing is published.

    Raises:
        AirflowFailException: The document is damaged or in the future. The message names it and the fix.
    """
    content = read(s3, *split(latest(bucket)))
    return {} if content is None else parse_latest(content, bucket)


def parse_latest(content: bytes, bucket: str) -> dict[str, Any]:
    """Return `latest.json` from its bytes.

    Raises:
        AirflowFailException: The document is damaged or in the future. The message names it and the fix.
    """
    from include.publication import documents

    try:
        return documents.read_latest(content, bucket, datetime.now(UTC))
    except documents.DocumentError as error:
        raise AirflowFailException(str(error)) from error


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
