"""A stack of `fruits.yaml` per module, and an S3 server per test of the uploader."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from moto import mock_aws

from tests.support.buckets import ACCESS_KEY, SECRET_KEY, s3_server
from tests.support.stacks import REGION, amazons_policy, create

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from tests.support.stacks import Stack


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    """moto's AWS, without a profile."""
    with pytest.MonkeyPatch.context() as patch, amazons_policy(), mock_aws():
        patch.delenv("AWS_PROFILE", raising=False)
        yield


@pytest.fixture(scope="module")
def stack(aws: None) -> Stack:  # noqa: ARG001 - moto must be active
    return create("fruits", {})


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Stubber]:
    """A function that creates a client with prepared responses. The client's requests are checked."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def make(service: str) -> Stubber:
        stubber = Stubber(
            boto3.client(
                service,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",  # noqa: S106 - of nobody
                config=Config(retries={"total_max_attempts": 1}),
            )
        )
        stubber.activate()
        return stubber

    return make


class S3Server(NamedTuple):
    """A running server: its address, the folder of its buckets, and a client."""

    address: str
    root: Path
    client: S3Client


@pytest.fixture
def s3(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server with one bucket, `fruits`; parametrize with another ETag hash to imitate SSE-KMS."""
    root = tmp_path / "s3"
    (root / "fruits").mkdir(parents=True)
    with s3_server(root, getattr(request, "param", "MD5")) as address:
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        yield S3Server(address, root, boto3.Session().client("s3"))  # the default session may be another test's
