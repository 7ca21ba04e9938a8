"""The environment variables with which AWS clients find local AWS, and its keys.

`client.env` holds the variables that depend on neither an address nor a key. docker-compose.yaml reads it, too.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from botocore.credentials import Credentials


def _read(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


_VARIABLES = _read(Path(__file__).with_name("client.env"))
REGION = _VARIABLES["AWS_REGION"]


def random_keys() -> Credentials:
    """Return an access key that no other local AWS has."""
    return Credentials(f"local-{secrets.token_hex(8)}", secrets.token_urlsafe(32))


def keys_from_environment() -> Credentials:
    """Return the access key of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.

    Raises:
        KeyError: A variable is missing.
    """
    return Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])


def client_environment(s3_port: int, emr_port: int, keys: Credentials) -> dict[str, str]:
    """Return the variables with which boto3, Airflow's hooks, the AWS CLI and obstore find local AWS.

    botocore uses `AWS_ENDPOINT_URL_S3` for S3 and `AWS_ENDPOINT_URL` for all other services (AWS SDKs and Tools
    Reference Guide, "Service-specific endpoints").
    """
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{emr_port}",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3_port}",
        "AWS_ACCESS_KEY_ID": str(keys.access_key),
        "AWS_SECRET_ACCESS_KEY": str(keys.secret_key),
        **_VARIABLES,
    }
