"""A published run that the tests of the client share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import fruits_features
from tests.support.published_runs import publish

if TYPE_CHECKING:
    from fruits_features.client.published_run import PublishedRun
    from include.dev.local_aws.local import LocalAws


class Shop(NamedTuple):
    """A bucket with a published run, and the content of its pointer."""

    bucket: str
    pointer: dict[str, Any]

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}"


@pytest.fixture(scope="session")
def shop(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    bucket = local_aws.create_bucket("shop")
    return Shop(bucket, publish(local_aws.s3(), bucket, tmp_path_factory.mktemp("run")))


@pytest.fixture
def fruits(shop: Shop, aws_environment: dict[str, str]) -> PublishedRun:  # noqa: ARG001 - sets the variables
    return fruits_features.open(shop.uri)
