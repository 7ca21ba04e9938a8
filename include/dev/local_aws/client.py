"""The environment variables with which AWS clients find local AWS, and its keys.

`client.env` holds the variables that depend on neither an address nor a key. docker-compose.yaml reads it, too.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.configprovider import ConfigChainFactory
from botocore.credentials import Credentials
from botocore.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.config import Config


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


def without_accounts(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the user's AWS configuration, for a process that uses local AWS only.

    All variables `AWS_*` are left out. There is one for the endpoint of each service, a profile that does not exist is
    an error, and with `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` requests would go to AWS. The files in `~/.aws` are not
    read.
    """
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")} | _VARIABLES


def connect(service: str, environment: Mapping[str, str], config: Config | None = None) -> Any:  # noqa: ANN401 - boto3's client of any service
    """Return a client that reads the AWS configuration from these variables, and not from those of this process.

    Args:
        service: Name of the service, as boto3 has it.
        environment: Variables of `client_environment`.
        config: Timeouts and retries.
    """
    core = Session()
    chain, store = ConfigChainFactory(core, environment), core.get_component("config_store")
    for option, (properties, variables, default, convert) in Session.SESSION_VARIABLES.items():
        provider = chain.create_config_chain(option, variables, properties, default, convert)
        store.set_config_provider(option, provider)
    session: Any = boto3.Session(botocore_session=core)  # its type knows literal names of services only
    return session.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL_S3" if service == "s3" else "AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
        config=config,
    )
