"""Child processes of a task that read and write S3 with the credentials of Airflow's connection."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from mypy_boto3_s3 import S3Client

_OF_OTHER_KEYS = ("AWS_SESSION_TOKEN", "AWS_PROFILE")
"""Variables that belong to other credentials than those of the connection."""


def environment(s3: S3Hook) -> dict[str, str]:
    """Return the environment of a child process: this process's, with keys, region and endpoint of an S3 hook.

    The keys are not renewed. botocore renews those of a role ten minutes before they expire, so they are valid for at
    least ten minutes (`botocore.credentials.RefreshableCredentials`).

    Raises:
        botocore.exceptions.NoCredentialsError: The connection has no credentials, and neither has this process.
    """
    from airflow.sdk.log import mask_secret

    client, credentials = cast("S3Client", s3.conn), s3.get_session().get_credentials()
    if credentials is None:
        raise NoCredentialsError
    keys = credentials.get_frozen_credentials()
    for secret in filter(None, (keys.secret_key, keys.token)):
        mask_secret(secret)
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_OTHER_KEYS}
    given = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token,
        "AWS_REGION": client.meta.region_name,
        "AWS_ENDPOINT_URL_S3": _endpoint(client.meta.endpoint_url),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return inherited | {name: value for name, value in given.items() if value}


def _endpoint(url: str) -> str | None:
    """Return the address of S3 if it is not one that clients derive from the region.

    >>> _endpoint("https://s3.eu-west-1.amazonaws.com"), _endpoint("http://127.0.0.1:9000")
    (None, 'http://127.0.0.1:9000')
    """
    return None if ".amazonaws.com" in (urlsplit(url).hostname or "") else url
