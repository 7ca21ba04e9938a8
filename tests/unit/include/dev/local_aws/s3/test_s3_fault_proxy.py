"""The proxy with latency and faults, tested with a client that does not retry."""

from __future__ import annotations

import http.client
import time
from contextlib import closing
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from include.dev.local_aws.s3.fault_proxy import Fault, Request, S3FaultProxy, first

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

BODY = bytes(range(256)) * 4096


def server_of(local_aws: LocalAws) -> tuple[str, int]:
    host, _, port = local_aws.environment["AWS_ENDPOINT_URL_S3"].removeprefix("http://").partition(":")
    return host, int(port)


def connect(proxy: S3FaultProxy, timeout_s: float = 60.0) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=timeout_s)


def address(proxy: S3FaultProxy, local_aws: LocalAws, bucket: str, operation: str = "get_object") -> str:
    """Return a presigned path of an object."""
    keys = {name.lower(): local_aws.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    config = Config(signature_version="s3v4")
    client = boto3.client("s3", endpoint_url=proxy.url, region_name="eu-west-1", config=config, **keys)
    signed: str = client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "photo"})
    return signed.removeprefix(proxy.url)


@pytest.fixture
def photographed(local_aws: LocalAws, bucket: str) -> str:
    """A bucket with an object."""
    local_aws.s3().put_object(Bucket=bucket, Key="photo", Body=BODY)
    return bucket


def test_answers_with_latency_are_delayed_and_complete(local_aws: LocalAws, photographed: str) -> None:
    with S3FaultProxy(server_of(local_aws), latency_s=0.05) as proxy, closing(connect(proxy)) as client:
        target = address(proxy, local_aws, photographed)
        for _ in range(2):
            start = time.monotonic()
            client.request("GET", target)
            answer = client.getresponse()
            assert (answer.status, answer.read() == BODY) == (200, True)
            assert time.monotonic() - start >= 0.05

    assert list(proxy.seen.values()) == [2]


@pytest.mark.parametrize(
    ("fault", "status", "code"), [(Fault.INTERNAL_ERROR, 500, b"InternalError"), (Fault.SLOW_DOWN, 503, b"SlowDown")]
)
def test_request_that_s3_cannot_serve_now_is_answered_as_by_s3(
    local_aws: LocalAws, photographed: str, fault: Fault, status: int, code: bytes
) -> None:
    with S3FaultProxy(server_of(local_aws), faults=first(1, fault)) as proxy, closing(connect(proxy)) as client:
        target = address(proxy, local_aws, photographed)
        client.request("GET", target)
        answer = client.getresponse()
        assert (answer.status, b"<Code>%s</Code>" % code in answer.read()) == (status, True)
        client.request("GET", target)
        assert client.getresponse().read() == BODY


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault.GARBLED, http.client.BadStatusLine),
        (Fault.RESET, ConnectionResetError),
        (Fault.RESET_IN_BODY, ConnectionResetError),
        (Fault.SHORT_BODY, http.client.IncompleteRead),
        (Fault.SILENCE, TimeoutError),
        (Fault.SILENCE_IN_BODY, TimeoutError),
    ],
)
def test_interrupted_request_fails_at_the_client(
    local_aws: LocalAws, photographed: str, fault: Fault, seen: type[Exception]
) -> None:
    with (
        S3FaultProxy(server_of(local_aws), faults=first(1, fault)) as proxy,
        closing(connect(proxy, 1.0 if seen is TimeoutError else 60.0)) as client,
    ):
        client.request("GET", address(proxy, local_aws, photographed))
        with pytest.raises(seen) as raised:
            client.getresponse().read()
    if isinstance(raised.value, http.client.IncompleteRead):
        assert raised.value.partial == BODY[: len(BODY) // 2]
    assert proxy.failed == {fault: 1}


def test_uploads_are_complete_and_judged_once(local_aws: LocalAws, bucket: str) -> None:
    judged: list[Request] = []

    with S3FaultProxy(server_of(local_aws), faults=judged.append) as proxy, closing(connect(proxy)) as client:
        client.request("PUT", address(proxy, local_aws, bucket, "put_object"), body=BODY * 8)
        assert client.getresponse().status == 200

    assert local_aws.s3().get_object(Bucket=bucket, Key="photo")["Body"].read() == BODY * 8
    assert [(request.method, request.nth) for request in judged] == [("PUT", 1)]
