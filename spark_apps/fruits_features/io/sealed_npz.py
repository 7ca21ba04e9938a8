"""NumPy archives that contain the digest of their content, so that a damaged archive is found when it is read.

The digest is the comment at the end of the `.npz` file, which is a ZIP archive. `numpy.load` ignores the comment.
"""

import io
import struct
import zipfile
import zlib
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEAL = b"sha256:"
"""Start of the comment at the end of the file. The SHA-256 of all bytes before the comment follows."""
_SEAL_BYTES = len(_SEAL) + 64
_END, _END_BYTES = b"PK\5\6", 22
"""Start and length of the record at the end of a ZIP archive without a comment."""
_NO_COMMENT = b"\0\0"
"""End of that record: the comment's length, 16 bits."""

OTHER_CONTENT = (
    AttributeError,
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of NumPy and json for an archive with other content than expected."""
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, *OTHER_CONTENT)
"""Errors of NumPy and zipfile for a damaged archive."""


class UnreadableArchiveError(ValueError):
    """A file is damaged, or is not an archive of arrays. The message is the end of a sentence."""


def encode(**arrays: NDArray[Any]) -> bytes:
    """Return arrays as the content of an `.npz` file without pickles, with its digest as ZIP comment."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type] # mypy takes an array for `allow_pickle`
    content = file.getvalue().removesuffix(_NO_COMMENT) + _SEAL_BYTES.to_bytes(2, "little")
    return content + _SEAL + sha256(content).hexdigest().encode()


def decode(data: bytes, *, older_without_seal: bool = False) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file by name.

    Args:
        data: Content of the file.
        older_without_seal: Whether an archive without a digest is accepted, because an older version wrote none.

    Raises:
        UnreadableArchiveError: The digest does not match, or the file is not an archive of arrays.
    """
    content, seal = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
    is_sealed = seal == _SEAL + sha256(content).hexdigest().encode()
    is_older = data[-_END_BYTES:].startswith(_END) and data.endswith(_NO_COMMENT)
    if not is_sealed and not (older_without_seal and is_older):
        raise UnreadableArchiveError("its digest does not match its content")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file}
    except _UNREADABLE as error:
        raise UnreadableArchiveError(f"{type(error).__name__}: {error}") from error
