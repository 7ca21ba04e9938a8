"""Load small pictures of images, to embed them in the page.

Images are decoded in a subprocess with a deadline. An image may be damaged, or may have been replaced since the run. A
crash or an endless loop while decoding it must not stop the task.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from fruits_features.extraction.subprocess_pool import SubprocessPool
from fruits_features.imaging.limits import opencv_environment
from fruits_features.imaging.thumbnail import MAX_PIXELS, thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterable

Fetch = Callable[[str], bytes | None]
"""Function that fetches an object by key, or returns `None` if it does not exist. Several threads call it."""

MAX_BYTES = 16 * 2**20
"""Largest quarantined object in bytes. Larger objects are not fetched."""
DEADLINE_S = 10.0
"""Longest time to make one picture, in seconds. Shorter than the limit of the extraction: the picture is a detail."""
CONCURRENT_FETCHES = 8


def load(paths: Iterable[str], bucket: str, fetch: Fetch, max_pixels: int = MAX_PIXELS) -> dict[str, str]:
    """Return pictures of objects as `data:` URIs by path. Objects that show nothing are omitted.

    Args:
        paths: URIs `s3://<bucket>/<key>`. Duplicates are loaded once.
        bucket: Bucket of the objects.
        fetch: Function that fetches an object.
        max_pixels: Largest image in pixels; at most `thumbnail.MAX_PIXELS` is used.
    """
    limit = min(max_pixels, MAX_PIXELS)
    make = partial(thumbnail, max_pixels=limit)
    unique = list(dict.fromkeys(paths))
    pictures: dict[str, str] = {}
    with (
        ThreadPoolExecutor(CONCURRENT_FETCHES) as threads,
        SubprocessPool(make, DEADLINE_S, opencv_environment(limit)) as child,
    ):
        for start in range(0, len(unique), CONCURRENT_FETCHES):
            batch = unique[start : start + CONCURRENT_FETCHES]
            contents = threads.map(fetch, [path.removeprefix(f"s3://{bucket}/") for path in batch])
            existing = {path: data for path, data in zip(batch, contents, strict=True) if data}
            thumbnails = child.map(existing.values(), existing)
            pictures |= {
                path: _uri(picture)
                for path, picture in zip(existing, thumbnails, strict=True)
                if isinstance(picture, bytes)
            }
    return pictures


def _uri(picture: bytes) -> str:
    return f"data:image/webp;base64,{b64encode(picture).decode()}"
