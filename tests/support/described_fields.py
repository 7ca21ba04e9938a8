"""Comparison of a document with the fields that the data dictionary describes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from include.dev.data_dictionary import record_fields
from include.publication.fields import LATEST, SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OF_RECORD = [field.path for field in record_fields()]
OF_LATEST = [*(field.path for field in LATEST), *(path for path in OF_RECORD if path.partition(".")[0] in SHARED)]


def undescribed(document: dict[str, object], described: Sequence[str]) -> list[str]:
    """Return the paths of a document's values that are not described."""
    return [path for path in _values(document) if not any(re.fullmatch(_pattern(one), path) for one in described)]


def absent(document: dict[str, object], described: Sequence[str]) -> list[str]:
    """Return the described paths at which a document has no value."""
    present = list(_values(document))
    return [one for one in described if not any(re.match(rf"{_pattern(one)}($|[.\[])", path) for path in present)]


def _values(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of each value that is neither an object nor a list of objects."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _values(child, f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        for child in value:
            yield from _values(child, f"{path}[]")
    else:
        yield path


def _pattern(described: str) -> str:
    """Return a regular expression for the paths of a field. A name at its end may contain periods."""
    return re.sub("<[^>]+>", "[^.]+", re.sub("<[^>]+>$", ".+", re.escape(described)))
