"""Find the files of a folder to upload, by the rules with which the inventory selects images."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fruits_features.contract.image_keys import is_system_file, is_system_folder, key_problem

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM_FILES: Final = "system files or folders, such as .DS_Store"
LOOPS: Final = "links to a folder that contains them"


class UploadError(Exception):
    """The upload cannot start or continue; the message has the reason and the fix."""


@dataclass(frozen=True)
class File:
    """One file to upload.

    Attributes:
        path: Path of the file.
        key: Key of the object.
    """

    path: Path
    key: str


@dataclass
class Found:
    """The content of a folder.

    Attributes:
        paths: Path of each file to upload, by key.
        left_out: Number of other files and folders, by kind.
        failures: Reason of each file or folder that cannot be uploaded, by key.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[File]:
        """Files to upload, sorted by key."""
        return [File(self.paths[key], key) for key in sorted(self.paths)]


def find_files(folder: Path, prefix: str) -> Found:
    """Find the files below a folder, and follow links to files and folders.

    macOS stores an accented letter as two characters (NFD), other systems as one (NFC). Keys are NFC, so a folder has
    the same keys on all systems.

    Args:
        folder: Folder to upload.
        prefix: Prefix of the keys, empty or ending in "/".

    Raises:
        UploadError: The path is not a folder, or two names differ only in the encoding of accents.
    """
    if not folder.is_dir():
        raise UploadError(f"{folder} is not a folder")
    found = Found()
    _add_folder(found, folder, "", prefix, frozenset())
    return found


def _add_folder(found: Found, folder: Path, relative: str, prefix: str, parents: frozenset[tuple[int, int]]) -> None:
    """Add the files of a folder, recursively.

    Args:
        found: Content found so far.
        folder: Path of the folder.
        relative: Path below the uploaded folder in Unicode form NFC, empty or ending in "/".
        prefix: Prefix of the keys.
        parents: Devices and inodes of the folders on the way from the uploaded one. A link to one of them would loop.
    """
    try:
        status = folder.stat()
        paths = sorted(folder.iterdir())
    except OSError as error:
        found.failures[prefix + relative] = f"the folder cannot be read: {error}"
        return
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        found.left_out[LOOPS] += 1
        return
    for path in paths:
        name = relative + unicodedata.normalize("NFC", path.name)
        is_folder = path.is_dir()
        if (is_system_folder if is_folder else is_system_file)(name):
            found.left_out[SYSTEM_FILES] += 1
        elif is_folder:
            _add_folder(found, path, f"{name}/", prefix, parents | {identity})
        else:
            _add_file(found, path, prefix + name)


def _add_file(found: Found, path: Path, key: str) -> None:
    if key in found.paths:
        raise UploadError(f"{found.paths[key]} and {path} would both become {key}; rename one")
    if not _is_utf8(key):
        found.failures[key.encode(errors="backslashreplace").decode()] = "the name is not UTF-8; rename the file"
    elif problem := key_problem(key):
        found.failures[key] = f"the key {problem}; rename the file"
    elif path.exists() and not path.is_file():
        found.failures[key] = "it is not a regular file"  # reading a named pipe would wait for a writer
    else:
        found.paths[key] = path


def _is_utf8(name: str) -> bool:
    """Return whether a name was decoded from UTF-8. Python decodes other bytes to surrogates (PEP 383)."""
    return not any("\udc80" <= character <= "\udcff" for character in name)
