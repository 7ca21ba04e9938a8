"""A real S3 server on loopback, over a folder of the test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client


class S3Server(NamedTuple):
    """A running server: its address, the folder whose sub-folders are its buckets, and a client."""

    address: str
    root: Path
    client: S3Client


@contextmanager
def _serve(root: Path, etag_hash: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
    options = ["--addr", f"127.0.0.1:{port}", "--etag-hash", etag_hash, "--auth-key", "local-key,local-secret"]
    server = subprocess.Popen(
        [rclone, "serve", "s3", "--config", "/dev/null", "--log-level", "ERROR", *options, str(root)]
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "rclone ended before it answered"
                assert time.monotonic() < deadline, "rclone does not answer"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def s3(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server with one bucket, `fruits`; parametrize with another ETag hash to imitate SSE-KMS."""
    root = tmp_path / "s3"
    (root / "fruits").mkdir(parents=True)
    with _serve(root, getattr(request, "param", "MD5")) as address:
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local-key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local-secret")
        yield S3Server(address, root, boto3.Session().client("s3"))  # another test may have made the default one
