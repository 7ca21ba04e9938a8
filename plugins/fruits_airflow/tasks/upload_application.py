"""What `make deploy` has put in place and runs only refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook


def wheelhouse(s3: S3Hook, name: str, *, required: bool) -> str:
    """The URI of a wheelhouse, which lies in the deployment's bucket whatever bucket a run reads.

    Raises:
        AirflowFailException: it is required and not there; another try would not find it either.
    """
    from include.settings import settings

    uri = f"s3://{settings().bucket}/{settings().artifact_prefix}{name}"
    if required and not s3.check_for_key(uri):
        raise AirflowFailException(
            f"There is no {uri}, from which the cluster installs the application's requirements: run `make deploy` "
            "from the checkout that Airflow runs, or what stands for it where this runs (docs/operations.md)."
        )
    return uri
