"""Single files by path or URI. Only an `s3://` URI needs obstore, so that `projection` runs without it."""

from errno import ENOENT
from pathlib import Path

from fruits_features.io import s3_access

_S3 = "s3://"


def read(address: str | Path) -> bytes:
    """Read a file.

    Args:
        address: Local path, or `s3://bucket/key`.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    uri = str(address)
    if not uri.startswith(_S3):
        return Path(uri).read_bytes()
    from fruits_features.io import object_store  # noqa: PLC0415 - needs obstore

    return object_store.read(uri)


def read_published(address: str | Path) -> bytes:
    """Read a file for a person, who waits for it: of a published run, or a photo.

    Args:
        address: Local path, or `s3://bucket/key`.

    Raises:
        FileNotFoundError: The file does not exist.
        S3AccessError: There are no credentials, S3 rejected them, or S3 does not answer.
    """
    uri = str(address)
    if not uri.startswith(_S3):
        return read(uri)
    from fruits_features.io import object_store  # noqa: PLC0415 - needs obstore

    with s3_access.reading(uri):
        try:
            return object_store.read(uri, object_store.READER_RETRIES)
        except FileNotFoundError as error:  # its message is the answer of the server
            raise FileNotFoundError(ENOENT, "There is no such object", uri) from error
