"""An S3 server, and trouble with it."""

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
    """A folder, each folder in it a bucket, and where it is served."""

    folder: Path
    address: tuple[str, int]


class Troubled(NamedTuple):
    """A bucket, its folder, and the trouble on the way to it."""

    name: str
    folder: Path
    trouble: S3FaultProxy


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as url:
        host, port = url.removeprefix("http://").split(":")
        yield Served(folder, (host, int(port)))


@pytest.fixture
def troubled(s3: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FaultRule], Troubled]]:
    """Makes an empty bucket that this process reaches by way of trouble."""
    with ExitStack() as stack:

        def make(faults: FaultRule) -> Troubled:
            name = f"bucket-{uuid.uuid4().hex[:12]}"
            (s3.folder / name).mkdir()
            trouble = stack.enter_context(S3FaultProxy(s3.address, faults=faults))
            keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "eu-west-1"}
            for variable, value in (keys | {"AWS_ENDPOINT_URL_S3": trouble.url}).items():
                monkeypatch.setenv(variable, value)
            return Troubled(name, s3.folder / name, trouble)

        yield make
