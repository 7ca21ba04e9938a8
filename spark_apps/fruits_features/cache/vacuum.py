"""What of a store nobody needs any more, so that it can be removed by age. Published runs need nothing of any store.

That is what no run will read: what crashed runs left, volumes that others supersede, and stores of other parameters or
of older code that no run has used. It must be older than any run that may still read or write it. Who removes it, and
how, is left to others.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from fruits_features.cache.store import ABOUT, MANIFEST, CacheSegment


def find_orphans(
    times: Mapping[str, datetime], read: Callable[[str], bytes], leftovers: datetime, unused: datetime
) -> tuple[list[str], list[str]]:
    """Tell what nobody needs.

    Args:
        times: when each object was written, by its name below the stores' folder.
        read: gives an object of that name.
        leftovers: what is incomplete, or superseded, since before that time is not needed.
        unused: stores that no run has used since before that time are not needed.

    Returns:
        Manifests, and the rest, which is to be removed after them, so that no volume is half there.
    """
    gone: list[str] = []
    for store, names in _by_folder(times, 0).items():
        last_use = times.get(f"{store}/{ABOUT}") or max(times[name] for name in names)
        gone.extend(names if last_use < unused else _of_used_store(names, times, read, leftovers))
    gone.sort()
    return [name for name in gone if _is_manifest(name)], [name for name in gone if not _is_manifest(name)]


def _of_used_store(
    names: Iterable[str], times: Mapping[str, datetime], read: Callable[[str], bytes], before: datetime
) -> Iterator[str]:
    """Tell what is incomplete or superseded since before a time."""
    volumes = {volume: of_volume for volume, of_volume in _by_folder(names, 1).items() if volume != ABOUT}
    superseded_at: dict[str, datetime] = {}
    complete: set[str] = set()
    for name, of_volume in volumes.items():
        manifest = next(filter(_is_manifest, of_volume), None)
        if manifest:
            complete.add(name)
            volume = CacheSegment.from_bytes(name, read(manifest))
            superseded_at.update(dict.fromkeys(volume.supersedes if volume else (), times[manifest]))
    for name, of_volume in volumes.items():
        since = superseded_at.get(name) if name in complete else max(times[one] for one in of_volume)
        if since and since < before:
            yield from of_volume


def _is_manifest(name: str) -> bool:
    return name.endswith(f"/{MANIFEST}")


def _by_folder(names: Iterable[str], level: int) -> Mapping[str, list[str]]:
    """Group names by their folder of a level."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[name.split("/")[level]].append(name)
    return groups
