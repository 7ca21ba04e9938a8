"""Single files by address, for those who may have no more than Python: only an `s3://` address needs obstore."""

from importlib import import_module
from pathlib import Path


def read(address: str | Path) -> bytes:
    """Read a file, given by its path or as `s3://bucket/key`.

    Raises:
        FileNotFoundError: when there is none.
    """
    if str(address).startswith("s3://"):
        data: bytes = import_module("fruits_features.io.object_store").read(str(address))
        return data
    return Path(address).read_bytes()
