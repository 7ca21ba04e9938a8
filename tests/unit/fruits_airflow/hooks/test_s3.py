"""Objects are read by bucket and key, whatever characters the key has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from fruits_airflow.hooks import aws
from fruits_airflow.hooks.s3 import read, read_image, read_json
from fruits_features.contract.layout import split
from tests.support.refusing_s3 import (
    ARCHIVED,
    CUSTOMER_KEY,
    DENIED,
    EXPIRED,
    KEY_DISABLED,
    SKEWED,
    UNKNOWN_KEY,
    Refusal,
    refusing_s3,
)

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

KEYS = ["images/Lime/1?size=2.jpg", "images/Lime/1#2.jpg", "images/Lime/1%23é ;&+.jpg", "images/Lime/s3:/1.jpg"]

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.mark.parametrize("key", KEYS)
def test_object_is_read_whatever_its_key(local_aws: LocalAws, bucket: str, key: str) -> None:
    local_aws.s3().put_object(Bucket=bucket, Key=key, Body=b'{"a": 1}')

    assert read(aws.s3(), bucket, key) == b'{"a": 1}'
    assert read_json(aws.s3(), f"s3://{bucket}/{key}") == {"a": 1}
    assert split(f"s3://{bucket}/{key}") == (bucket, key)


def test_missing_object_and_another_version_are_none(local_aws: LocalAws, bucket: str) -> None:
    etag = local_aws.s3().put_object(Bucket=bucket, Key="a#b", Body=b"1")["ETag"].strip('"')

    assert read(aws.s3(), bucket, "a#b", etag) == b"1"
    assert read(aws.s3(), bucket, "a#b", "0" * 32) is None
    assert read(aws.s3(), bucket, "a") is None


def test_object_above_the_limit_of_bytes_is_not_read(local_aws: LocalAws) -> None:
    local_aws.s3().put_object(Bucket="fruits", Key="large", Body=b"12345")

    assert read(aws.s3(), "fruits", "large", max_bytes=5) == b"12345"
    assert read(aws.s3(), "fruits", "large", max_bytes=4) is None
    assert read(aws.s3(), "fruits", "large") == b"12345"


@pytest.mark.parametrize("refusal", [ARCHIVED, CUSTOMER_KEY, DENIED, KEY_DISABLED], ids=lambda one: one.code)
def test_image_that_s3_refuses_is_left_out_with_a_warning_and_a_document_is_not(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing_s3(refusal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        assert read_image(aws.s3(), "orchard", "images/Lime/1.jpg") is None
        with pytest.raises(ClientError):
            read(aws.s3(), "orchard", "features/latest.json")

    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert warning.startswith("s3://orchard/images/Lime/1.jpg is left out. ")


@pytest.mark.parametrize("refusal", [EXPIRED, SKEWED, UNKNOWN_KEY], ids=lambda one: one.code)
def test_refused_credentials_are_no_missing_image(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing_s3(refusal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        with pytest.raises(ClientError):
            read_image(aws.s3(), "orchard", "images/Lime/1.jpg")
