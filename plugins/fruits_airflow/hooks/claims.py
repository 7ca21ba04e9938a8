"""Claims of run folders.

The object `claim.json` in a run's folder names the deployment, the DAG and the DAG run that own the folder. It is
written by a conditional PUT, so that only one of several concurrent claims succeeds (Amazon S3 User Guide, "Conditional
requests"). A server that ignores the condition keeps the last claim. Each run therefore reads the claim back, when it
takes the folder and again before the application writes to it.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, cast

from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError

from fruits_airflow.hooks.s3 import read_json
from fruits_features.contract.layout import split
from fruits_features.contract.sealed import DamagedDocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from mypy_boto3_s3 import S3Client

    from fruits_features.contract.layout import RunLayout

log = logging.getLogger(__name__)

_CLAIMED_CODES = {"PreconditionFailed", "ConditionalRequestConflict"}
"""S3's error codes when the folder has a claim, or is being claimed."""


def claim(s3: S3Hook, layout: RunLayout, owner: Mapping[str, str]) -> bool:
    """Claim a run's folder, unless it is claimed already. Return whether it belongs to `owner`.

    Args:
        s3: Hook that reaches the bucket.
        layout: Layout of the run.
        owner: Deployment, DAG and DAG run, by name.

    Raises:
        AirflowException: Another run is claiming the folder at this moment. The next try finds its claim.
    """
    try:
        holder = read_json(s3, layout.claim)
    except DamagedDocumentError as error:
        log.warning("%s The folder is not used.", error)
        return False
    if not holder:
        _put(s3, layout, owner)
        holder = read_json(s3, layout.claim)
    if not holder:
        raise AirflowException(f"Another run is claiming {layout.prefix}. Trying again.")
    if holder != owner:
        log.info("%s belongs to %s.", layout.prefix, describe(holder))
    return holder == owner


def _put(s3: S3Hook, layout: RunLayout, owner: Mapping[str, str]) -> None:
    bucket, key = split(layout.claim)
    body = json.dumps(owner, indent=2, sort_keys=True).encode()
    try:
        cast("S3Client", s3.conn).put_object(
            Bucket=bucket, Key=key, Body=body, ContentType="application/json; charset=utf-8", IfNoneMatch="*"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in _CLAIMED_CODES:
            raise


def describe(holder: Mapping[str, str]) -> str:
    """Return the owner of a folder as part of a sentence.

    >>> describe({"deployment": "orchard", "dag_id": "daily", "run_id": "manual__1"})
    'run manual__1 of DAG daily in deployment orchard'
    """
    return f"run {holder.get('run_id')} of DAG {holder.get('dag_id')} in deployment {holder.get('deployment')}"
