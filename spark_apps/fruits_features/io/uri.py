"""Single files by path or URI. Only an `s3://` URI needs obstore, so that `projection` runs without it."""

from importlib import import_module
from pathlib import Path


def read(address: str | Path) -> bytes:
    """Read a file.

    Args:
        address: Local path, or `s3://bucket/key`.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    if str(address).startswith("s3://"):
        data: bytes = import_module("fruits_features.io.object_store").read(str(address))
        return data
    return Path(address).read_bytes()
