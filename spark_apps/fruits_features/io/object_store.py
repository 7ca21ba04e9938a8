"""Folders of objects, in a bucket or on a disk, by URI: everything the application writes and reads besides images.

One way for both, so that a run below `s3://` and one below a local folder differ in nothing else. Every object is
written whole or not at all. Requests that fail are tried again, as `FILE_RETRIES` says.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.store import LocalStore, ObjectStore, S3Store

from fruits_features.io.retry import RetryPolicy, retry_call

if TYPE_CHECKING:
    from obstore import ObjectMeta

FILE_RETRIES = RetryPolicy(silence_s=300.0)
"""The server says nothing while a whole file is sent to it: 128 MB in 300 s is what a slow line takes."""

_PIECE_BYTES = 16 * 1024 * 1024
"""Smaller objects are written in a single request; S3 wants pieces of 5 MB or more, and at most 10,000 of them."""
_PIECES = 4
"""On their way at once."""

_S3 = "s3://"


@cache
def open_folder(uri: str) -> ObjectStore:
    """Open a folder given as `s3://bucket/prefix`, as a path or as a `file:` URI without quoting; it need not exist."""
    if uri.startswith(_S3):
        bucket, _, prefix = uri.removeprefix(_S3).partition("/")
        return open_bucket(bucket, FILE_RETRIES, prefix.strip("/"))
    return LocalStore(_local(uri), mkdir=True, automatic_cleanup=True)


def open_bucket(bucket: str, policy: RetryPolicy, prefix: str = "") -> ObjectStore:
    """Open a bucket, or a prefix of it, found and authorised the way botocore would, and patient with its trouble.

    An address over plain HTTP is only ever one that the environment names on purpose, so it is allowed.
    """
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=min(10.0, policy.silence_s)),
            "read_timeout": timedelta(seconds=policy.silence_s),
            "timeout": timedelta(seconds=policy.answer_s),
        },
        retry_config={
            "max_retries": policy.retries,
            "retry_timeout": timedelta(seconds=policy.budget_s),
            "backoff": {
                "init_backoff": timedelta(seconds=policy.first_pause_s),
                "max_backoff": timedelta(seconds=policy.longest_pause_s),
                "base": 3,
            },
        },
    )


def list_files(folder: str, suffix: str = "") -> dict[str, int]:
    """List the objects below a folder that end in a suffix: their names, sorted, and their sizes in bytes."""
    return dict(sorted((one["path"], one["size"]) for one in _list(folder) if one["path"].endswith(suffix)))


def _list(folder: str) -> "list[ObjectMeta]":
    store = open_folder(folder)
    return retry_call(lambda: [entry for batch in obstore.list(store) for entry in batch], FILE_RETRIES)


def read_bytes(folder: str, name: str) -> bytes:
    """Read one object.

    Raises:
        FileNotFoundError: when there is none.
    """
    return retry_call(lambda: bytes(obstore.get(open_folder(folder), name).bytes()), FILE_RETRIES)


def read(uri: str) -> bytes:
    """Read one object by its URI.

    Raises:
        FileNotFoundError: when there is none.
    """
    folder, _, name = uri.rpartition("/")
    return read_bytes(folder, name)


class Ranges(io.RawIOBase):
    """One object as Python's files are, of which only what is read travels.

    Args:
        folder: the object's.
        name: its name in the folder.
        size: in bytes.
    """

    def __init__(self, folder: str, name: str, size: int) -> None:
        self._store, self._name, self._size, self._place = open_folder(folder), name, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere else."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        """Tell where that is."""
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all that are left."""
        end = self._size if size < 0 else min(self._size, self._place + size)
        if end <= self._place:
            return b""
        data = bytes(obstore.get_range(self._store, self._name, start=self._place, end=end))
        self._place = end
        return data


def write_bytes(folder: str, name: str, data: bytes) -> None:
    """Write one object in a single request; replaces what was there."""
    retry_call(lambda: obstore.put(open_folder(folder), name, data, use_multipart=False), FILE_RETRIES)


@contextmanager
def writing(folder: str, name: str) -> Iterator["Sink"]:
    """Open one object to be written piece by piece, each of which travels while the next is made.

    It is there, whole, when the block has ended, and is left as it was where the block raises. Requests are tried
    again, but not one whose answer breaks off half-way: that raises, and the writer begins anew, as Spark's tasks do.
    """
    with obstore.open_writer(open_folder(folder), name, buffer_size=_PIECE_BYTES, max_concurrency=_PIECES) as writer:
        yield Sink(writer.write)


class Sink(io.RawIOBase):
    """What is written, as Python's files are; counts its `size` in bytes."""

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self._write = write
        self.size = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: object) -> int:
        """Write some bytes, all of them."""
        content = bytes(memoryview(data))  # type: ignore[arg-type] # typeshed's Buffer is not there in Python 3.11
        self._write(content)
        self.size += len(content)
        return len(content)


def remove_folder(folder: str) -> None:
    """Remove all objects of a folder, and the folder itself where folders are things of their own."""
    parent, _, name = folder.rstrip("/").rpartition("/")
    store = open_folder(parent)
    gone = retry_call(
        lambda: [entry["path"] for batch in obstore.list(store, f"{name}/") for entry in batch], FILE_RETRIES
    )
    if gone:
        retry_call(lambda: obstore.delete(store, gone), FILE_RETRIES)


def _local(uri: str) -> Path:
    """Turn a path, or a `file:` URI without quoting, into a path.

    >>> _local("file:///tmp/a b").as_posix()
    '/tmp/a b'
    """
    return Path(uri.removeprefix("file://").removeprefix("file:"))
