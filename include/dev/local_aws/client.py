"""The environment variables with which AWS clients find local AWS.

`client.env` holds those that do not depend on an address. docker-compose.yaml reads it, too.
"""

from __future__ import annotations

from pathlib import Path


def _read(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


_VARIABLES = _read(Path(__file__).with_name("client.env"))
REGION = _VARIABLES["AWS_REGION"]
ACCESS_KEY_ID = _VARIABLES["AWS_ACCESS_KEY_ID"]
SECRET_ACCESS_KEY = _VARIABLES["AWS_SECRET_ACCESS_KEY"]


def client_environment(s3_port: int, emr_port: int) -> dict[str, str]:
    """Return the variables with which boto3, Airflow's hooks, the AWS CLI and obstore find local AWS.

    botocore uses `AWS_ENDPOINT_URL_S3` for S3 and `AWS_ENDPOINT_URL` for all other services (AWS SDKs and Tools
    Reference Guide, "Service-specific endpoints").
    """
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{emr_port}",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3_port}",
        **_VARIABLES,
    }
