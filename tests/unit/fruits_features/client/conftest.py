"""A published run that the tests of the client share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import fruits_features
from fruits_features.contract.layout import DatasetLayout
from tests.support.published_runs import publish, put_pointer

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
def market(local_aws: LocalAws, bucket: str, shop: Shop) -> str:
    """Address of a bucket with the data set `citrus` alone, whose published run has the files of `shop`."""
    pointer = {**shop.pointer, "run": "citrus-run"}
    put_pointer(local_aws.s3(), bucket, pointer, DatasetLayout(bucket, "citrus").latest)
    return f"s3://{bucket}"


@pytest.fixture
def fruits(shop: Shop, aws_environment: dict[str, str]) -> PublishedRun:  # noqa: ARG001 - sets the variables
    return fruits_features.open(shop.uri)
