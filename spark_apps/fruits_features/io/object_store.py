"""Objects in a folder of a bucket or of a local disk, by URI. All files except the images are read and written here.

Runs below `s3://` and below a local folder use the same code. A write creates the complete object or nothing. Failed
requests are retried: writes by `FILE_RETRIES`, reads by the policy of their argument.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.store import LocalStore, ObjectStore, S3Store

from fruits_features.io import s3_access
from fruits_features.io.retry import RetryPolicy, retry_call

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config

FILE_RETRIES = RetryPolicy(read_timeout_s=300.0)
"""Retry policy for files. The server sends nothing while it receives a file: 128 MB take 300 s at 3.4 Mbit/s."""
READER_RETRIES = RetryPolicy(budget_s=10.0, max_pause_s=2.0, read_timeout_s=10.0)
"""Retry policy for readers of published runs. People wait for them, while runs must outlast minutes of faults of S3."""

_PART_BYTES = 16 * 1024 * 1024
"""Bytes per part of a multipart upload; smaller objects take a single request.

S3 requires parts of at least 5 MiB and allows at most 10,000 of them:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""
_MAX_CONCURRENT_PARTS = 4

_S3 = "s3://"


@cache
def open_folder(uri: str, policy: RetryPolicy) -> ObjectStore:
    """Open a folder, which need not exist.

    Args:
        uri: `s3://bucket/prefix`, a local path, or a `file:` URI without percent-encoding.
        policy: Retries of requests to S3.
    """
    if uri.startswith(_S3):
        bucket, _, prefix = uri.removeprefix(_S3).partition("/")
        return open_bucket(bucket, policy, prefix.strip("/"))
    return LocalStore(_local_path(uri), mkdir=True, automatic_cleanup=True)


def open_bucket(bucket: str, policy: RetryPolicy, prefix: str = "") -> ObjectStore:
    """Open a bucket, or a prefix of it, with the region, endpoint and credentials that boto3 would use.

    Plain HTTP is allowed, because it is only used for an endpoint that an environment variable names.
    """
    region = s3_access.region_of(bucket)
    config: S3Config = {"region": region} if region else {}
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        credential_provider=s3_access.profile(),
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=min(10.0, policy.read_timeout_s)),
            "read_timeout": timedelta(seconds=policy.read_timeout_s),
            "timeout": timedelta(seconds=policy.timeout_s),
        },
        retry_config={
            "max_retries": policy.retries,
            "retry_timeout": timedelta(seconds=policy.budget_s),
            "backoff": {
                "init_backoff": timedelta(seconds=policy.first_pause_s),
                "max_backoff": timedelta(seconds=policy.max_pause_s),
                "base": 3,
            },
        },
    )


def list_files(folder: str, suffix: str = "", policy: RetryPolicy = FILE_RETRIES) -> dict[str, int]:
    """Return the sizes in bytes of the objects below a folder whose names end in a suffix, by name, sorted."""
    listed = _list(open_folder(folder, policy), None, policy)
    return dict(sorted((entry["path"], entry["size"]) for entry in listed if entry["path"].endswith(suffix)))


def _list(store: ObjectStore, prefix: str | None, policy: RetryPolicy) -> "list[ObjectMeta]":
    return retry_call(lambda: [entry for batch in obstore.list(store, prefix) for entry in batch], policy)


def list_folders(folder: str, policy: RetryPolicy) -> list[str]:
    """Return the names of the folders directly below a folder, sorted."""
    store = open_folder(folder, policy)
    listed = retry_call(lambda: obstore.list_with_delimiter(store)["common_prefixes"], policy)
    return sorted(str(path).rstrip("/") for path in listed)


def exists(uri: str, policy: RetryPolicy) -> bool:
    """Return whether an object exists."""
    folder, _, name = uri.rpartition("/")
    store = open_folder(folder, policy)
    try:
        retry_call(lambda: obstore.head(store, name), policy)
    except FileNotFoundError:
        return False
    return True


def read_bytes(folder: str, name: str, policy: RetryPolicy = FILE_RETRIES) -> bytes:
    """Read one object.

    Raises:
        FileNotFoundError: The object does not exist.
    """
    store = open_folder(folder, policy)
    return retry_call(lambda: bytes(obstore.get(store, name).bytes()), policy)


def read(uri: str, policy: RetryPolicy = FILE_RETRIES) -> bytes:
    """Read one object by its URI.

    Raises:
        FileNotFoundError: The object does not exist.
        ValueError: It is the URI of a bucket or of a folder.
    """
    folder, _, name = uri.rpartition("/")
    if uri.startswith(_S3) and (len(folder) <= len(_S3) or not name):
        raise ValueError(f"{uri!r} is not the address of an object; write s3://<bucket>/<key>.")
    return read_bytes(folder, name, policy)


class Ranges(io.RawIOBase):
    """An object as a seekable Python file. Each read fetches the requested range only.

    Args:
        folder: URI of the folder.
        name: Name of the object in the folder.
        size: Size of the object in bytes.
    """

    def __init__(self, folder: str, name: str, size: int) -> None:
        self._store = open_folder(folder, FILE_RETRIES)
        self.name, self._size, self._position = name, size, 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next read and return it."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:  # codespell:ignore tell
        """Return the position of the next read."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, or all remaining bytes if `size` is negative."""
        end = self._size if size < 0 else min(self._size, self._position + size)
        if end <= self._position:
            return b""
        data = bytes(obstore.get_range(self._store, self.name, start=self._position, end=end))
        self._position = end
        return data


def write_bytes(folder: str, name: str, data: bytes) -> None:
    """Write one object in a single request. Replace an existing object."""
    store = open_folder(folder, FILE_RETRIES)
    retry_call(lambda: obstore.put(store, name, data, use_multipart=False), FILE_RETRIES)


@contextmanager
def writing(folder: str, name: str) -> Iterator["Sink"]:
    """Open one object for writing. Parts are uploaded in the background.

    The object is complete when the block ends. If the block raises, an existing object stays as it was. Failed requests
    are retried, except for a response that breaks off, which raises. The caller must then write the object again, as
    Spark does when it retries a task.
    """
    store = open_folder(folder, FILE_RETRIES)
    with obstore.open_writer(store, name, buffer_size=_PART_BYTES, max_concurrency=_MAX_CONCURRENT_PARTS) as writer:
        yield Sink(writer.write)


class Sink(io.RawIOBase):
    """A writable Python file that counts the bytes written in `size`."""

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self._write = write
        self.size = 0

    def writable(self) -> bool:
        """Return true."""
        return True

    def write(self, data: object) -> int:
        """Write all given bytes and return their number."""
        content = bytes(memoryview(data))  # type: ignore[arg-type] # typeshed's Buffer is missing in Python 3.11
        self._write(content)
        self.size += len(content)
        return len(content)


def remove(folder: str, name: str) -> None:
    """Remove one object if it exists."""
    store = open_folder(folder, FILE_RETRIES)
    with suppress(FileNotFoundError):
        retry_call(lambda: obstore.delete(store, name), FILE_RETRIES)


def remove_folder(folder: str) -> None:
    """Remove all objects of a folder, and the folder itself on a local disk."""
    parent, _, name = folder.rstrip("/").rpartition("/")
    store = open_folder(parent, FILE_RETRIES)
    names = [entry["path"] for entry in _list(store, f"{name}/", FILE_RETRIES)]
    if names:
        retry_call(lambda: obstore.delete(store, names), FILE_RETRIES)


def _local_path(uri: str) -> Path:
    """Return the path of a local path or of a `file:` URI without percent-encoding.

    >>> _local_path("file:///tmp/a b").as_posix()
    '/tmp/a b'
    """
    return Path(uri.removeprefix("file://").removeprefix("file:"))
