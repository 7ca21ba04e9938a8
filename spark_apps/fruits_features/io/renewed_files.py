"""pyarrow file system for S3 with renewed credentials.

pyarrow's own client takes keys once. Those of an assumed role are valid for an hour at most where the caller has
assumed a role already (IAM User Guide, "Role chaining"); botocore renews them.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileSystemHandler, PyFileSystem
from pyarrow.lib import NativeFile

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials


def renewed(credentials: "Credentials", connect: "Callable[[ReadOnlyCredentials], FileSystem]") -> FileSystem:
    """Return a file system for reading that opens each file with the current keys.

    pyarrow reads the files itself. Only opening a file calls Python.

    Args:
        credentials: Credentials of botocore, which renews them.
        connect: Returns a file system for keys. Called again when the keys have changed.
    """
    return PyFileSystem(_Renewed(credentials, connect))


class _Renewed(FileSystemHandler):  # type: ignore[misc] # pyarrow has no type hints
    """Forward each operation to a file system with the current keys."""

    def __init__(self, credentials: "Credentials", connect: "Callable[[ReadOnlyCredentials], FileSystem]") -> None:
        self._credentials, self._connect = credentials, connect
        self._connected: tuple[ReadOnlyCredentials, FileSystem] | None = None

    def _current(self) -> FileSystem:
        keys = self._credentials.get_frozen_credentials()
        if self._connected is None or self._connected[0] != keys:
            self._connected = (keys, self._connect(keys))
        return self._connected[1]

    def get_type_name(self) -> str:
        """Return the type's name."""
        return "s3"

    def normalize_path(self, path: str) -> str:
        """Return the path as S3's file system writes it."""
        normalized: str = self._current().normalize_path(path)
        return normalized

    def get_file_info(self, paths: Sequence[str]) -> list[FileInfo]:
        """Return the information about files."""
        found: list[FileInfo] = self._current().get_file_info(paths)
        return found

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        """Return the information about the files of a folder."""
        found: list[FileInfo] = self._current().get_file_info(selector)
        return found

    def open_input_file(self, path: str) -> NativeFile:
        """Open a file for random access."""
        return self._current().open_input_file(path)

    def open_input_stream(self, path: str) -> NativeFile:
        """Open a file for sequential reading."""
        return self._current().open_input_stream(path)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        """Raise an error, because the file system is read-only."""
        raise NotImplementedError("This file system is read-only.")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_output_stream = open_append_stream = _refuse
