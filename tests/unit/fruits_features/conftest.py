"""An S3 server, and a proxy that injects faults into its responses."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from include.dev.local_aws.s3.fault_proxy import Fault, Request, S3FaultProxy
from tests.support.buckets import ACCESS_KEY, SECRET_KEY, s3_server

FaultRule = Callable[[Request], Fault | None]


class Served(NamedTuple):
    """A served folder, in which each folder is a bucket, and the server's host and port."""

    folder: Path
    address: tuple[str, int]


class FaultyBucket(NamedTuple):
    """A bucket, its folder, and the proxy that injects faults."""

    name: str
    folder: Path
    proxy: S3FaultProxy


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as url:
        host, port = url.removeprefix("http://").split(":")
        yield Served(folder, (host, int(port)))


@pytest.fixture
def faulty_bucket(s3: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FaultRule], FaultyBucket]]:
    """Creates an empty bucket that this process reaches through a proxy with the given faults."""
    with ExitStack() as stack:

        def make(faults: FaultRule) -> FaultyBucket:
            name = f"bucket-{uuid.uuid4().hex[:12]}"
            (s3.folder / name).mkdir()
            proxy = stack.enter_context(S3FaultProxy(s3.address, faults=faults))
            keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "eu-west-1"}
            for variable, value in (keys | {"AWS_ENDPOINT_URL_S3": proxy.url}).items():
                monkeypatch.setenv(variable, value)
            return FaultyBucket(name, s3.folder / name, proxy)

        yield make
