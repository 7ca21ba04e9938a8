"""Single small files, by URI or path: what is written beside the Parquet."""

from pathlib import Path

import obstore

from fruits_features.fetch import open_bucket

_S3 = "s3://"


def read_bytes(uri: str) -> bytes:
    """Read one file.

    Raises:
        FileNotFoundError: when there is none.
    """
    if uri.startswith(_S3):
        bucket, _, key = uri.removeprefix(_S3).partition("/")
        return bytes(obstore.get(open_bucket(bucket), key).bytes())
    return _local(uri).read_bytes()


def write_bytes(uri: str, data: bytes) -> None:
    """Write one file as a whole, replacing what was there; folders of a path are made."""
    if uri.startswith(_S3):
        bucket, _, key = uri.removeprefix(_S3).partition("/")
        obstore.put(open_bucket(bucket), key, data)
        return
    path = _local(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _local(uri: str) -> Path:
    """Turn a path, or a `file:` URI without quoting, into a path.

    >>> _local("file:///tmp/a b").as_posix()
    '/tmp/a b'
    """
    return Path(uri.removeprefix("file://").removeprefix("file:"))
