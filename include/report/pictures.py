"""Photographs as small pictures inside the page.

They are decoded in a process of their own: what the report shows may be damaged, or may have been replaced since the
run read it, and must not end the task.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fruits_features.extraction.subprocess_pool import SubprocessPool
from include.report.thumbnails import thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterable

Fetch = Callable[[str], bytes | None]
"""Gives an object by its key; `None` when there is none. Called by several threads at a time."""

MOST_BYTES = 16 * 2**20
"""Of a quarantined object; a larger one is not fetched."""
FETCHED_AT_ONCE = 8


def load(paths: Iterable[str], bucket: str, fetch: Fetch) -> dict[str, str]:
    """Make pictures of objects, as `data:` URIs by path; what shows nothing is left out.

    Args:
        paths: `s3://<bucket>/<key>`, each as often as it likes.
        bucket: where they lie.
        fetch: gets them.
    """
    wanted = list(dict.fromkeys(paths))
    found: dict[str, str] = {}
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as threads, SubprocessPool(thumbnail) as child:
        for start in range(0, len(wanted), FETCHED_AT_ONCE):
            some = wanted[start : start + FETCHED_AT_ONCE]
            fetched = threads.map(fetch, [path.removeprefix(f"s3://{bucket}/") for path in some])
            there = {path: data for path, data in zip(some, fetched, strict=True) if data}
            if there:
                made = child.call([*there.values()])
                found |= {path: _uri(picture) for path, picture in zip(there, made, strict=True) if picture}
    return found


def _uri(picture: bytes) -> str:
    return f"data:image/webp;base64,{b64encode(picture).decode()}"
