"""Keys of images: their split and category, system files among them, and keys that cannot be requested.

The uploader, the inventory and the application share these rules. Relative keys begin below the image prefix. Uses the
standard library only.
"""

import re
import unicodedata
from functools import lru_cache

from fruits_features.contract.layout import FITTED_SPLIT

VALIDATION_SPLIT, TEST_SPLIT = "Validation", "Test"
SPLITS = {
    "training": FITTED_SPLIT,
    "train": FITTED_SPLIT,
    "validation": VALIDATION_SPLIT,
    "valid": VALIDATION_SPLIT,
    "val": VALIDATION_SPLIT,
    "test": TEST_SPLIT,
}
"""Splits by the names of their folders in lower case."""

SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "_temporary"}
)
"""Folders of macOS archives, file servers, recycle bins, file systems and Hadoop, in lower case."""

SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "_success"})
"""Files of Windows, macOS and Hadoop, in lower case. Names that begin with "." are system files too."""

SYSTEM_SUFFIXES = ("_$folder$", ":zone.identifier", ".aae", ".xmp")
"""Ends of names, in lower case: folder markers of Hadoop, origins of downloads on Windows, and edits and metadata that
phones and photo software store beside a photograph."""

_UNUSABLE_SEGMENTS = frozenset({"", ".", ".."})
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def key_problem(key: str) -> str | None:
    r"""Return why a key cannot be requested, as the end of a sentence; `None` if it can.

    S3 allows these keys, but the paths of obstore do not:
    https://docs.rs/object_store/latest/object_store/path/struct.Path.html

    >>> key_problem("images/Limes/1.jpg"), key_problem("images/a\tb.jpg")
    (None, "contains '\\t'")
    """
    if not _UNUSABLE_SEGMENTS.isdisjoint(key.split("/")):
        return "has an empty, '.' or '..' segment"
    control = _CONTROL_CHARACTER.search(key)
    return f"contains {control[0]!r}" if control else None


def is_system_file(relative_key: str) -> bool:
    """Return whether the name of an object is not that of an image.

    >>> is_system_file("Limes/._1.png"), is_system_file("Limes/_MG_1.png"), is_system_file("__MACOSX/Limes/1.png")
    (True, False, True)
    """
    folder, _, name = relative_key.lower().rpartition("/")
    return name in SYSTEM_FILES or name.endswith(SYSTEM_SUFFIXES) or _is_hidden(name) or is_system_folder(folder)


@lru_cache(maxsize=1024)
def is_system_folder(relative_path: str) -> bool:
    """Return whether a folder, or one that contains it, holds no images by its name.

    >>> is_system_folder(".thumbnails/2026"), is_system_folder("Apple/..")
    (True, False)
    """
    folders = relative_path.lower().split("/")
    return not SYSTEM_FOLDERS.isdisjoint(folders) or any(map(_is_hidden, folders))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") and name not in {".", ".."}


def split_and_category(relative_key: str) -> tuple[str | None, str | None]:
    """Return split and category from the folders of a relative key.

    The category is the last folder, in Unicode form NFC. The split is the first folder above it that has the name of a
    split, in any letter case. In "Test/1.jpg", the split has no folder of a category below it.

    >>> split_and_category("Training/Apple Golden 2/3_100.jpg")
    ('Training', 'Apple Golden 2')
    >>> split_and_category("fruits-360/test/Limes/17.jpg"), split_and_category("shop 7/monday/Limes/17.jpg")
    (('Test', 'Limes'), (None, 'Limes'))
    >>> split_and_category("Test/stray.jpg"), split_and_category("stray.jpg")
    (('Test', None), (None, None))
    """
    return _of_folder(relative_key.rpartition("/")[0])


@lru_cache(maxsize=1024)
def _of_folder(path: str) -> tuple[str | None, str | None]:
    folders = [folder for folder in path.split("/") if folder]
    if len(folders) == 1 and as_split(folders[0]):
        return as_split(folders[0]), None
    split = next(filter(None, map(as_split, folders[:-1])), None)
    return split, unicodedata.normalize("NFC", folders[-1]) if folders else None


def as_split(folder: str) -> str | None:
    """Return the split that a folder is named after, or `None`.

    >>> as_split("val"), as_split("Valencia")
    ('Validation', None)
    """
    return SPLITS.get(folder.lower())
