"""Folders of objects, in a bucket or on a disk, by URI: everything the application writes and reads besides images.

One way for both, so that a run below `s3://` and one below a local folder differ in nothing else. Every object is
written whole or not at all.
"""

from functools import cache
from pathlib import Path

import obstore
from obstore.store import LocalStore, ObjectStore

from fruits_features.fetch import open_bucket

_S3 = "s3://"


@cache
def open_folder(uri: str) -> ObjectStore:
    """Open a folder given as `s3://bucket/prefix`, as a path or as a `file:` URI without quoting; it need not exist."""
    if uri.startswith(_S3):
        bucket, _, prefix = uri.removeprefix(_S3).partition("/")
        return open_bucket(bucket, prefix.strip("/"))
    return LocalStore(_local(uri), mkdir=True, automatic_cleanup=True)


def list_files(folder: str, suffix: str = "") -> dict[str, int]:
    """List the objects below a folder that end in a suffix: their names, sorted, and their sizes in bytes."""
    entries = [entry for batch in obstore.list(open_folder(folder)) for entry in batch]
    return dict(sorted((entry["path"], entry["size"]) for entry in entries if entry["path"].endswith(suffix)))


def read_bytes(folder: str, name: str) -> bytes:
    """Read one object.

    Raises:
        FileNotFoundError: when there is none.
    """
    return bytes(obstore.get(open_folder(folder), name).bytes())


def write_bytes(folder: str, name: str, data: bytes | Path) -> None:
    """Write one object as a whole, given its content or a file that holds it; replaces what was there."""
    obstore.put(open_folder(folder), name, data, use_multipart=False)


def remove_folder(folder: str) -> None:
    """Remove all objects of a folder, and the folder itself where folders are things of their own."""
    parent, _, name = folder.rstrip("/").rpartition("/")
    store = open_folder(parent)
    gone = [entry["path"] for batch in obstore.list(store, f"{name}/") for entry in batch]
    if gone:
        obstore.delete(store, gone)


def _local(uri: str) -> Path:
    """Turn a path, or a `file:` URI without quoting, into a path.

    >>> _local("file:///tmp/a b").as_posix()
    '/tmp/a b'
    """
    return Path(uri.removeprefix("file://").removeprefix("file:"))
