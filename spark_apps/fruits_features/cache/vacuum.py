"""Finds the files of the feature caches that no run will read, so that they can be removed by age.

These are the leftovers of crashed runs, superseded and damaged segments, and caches of a configuration or code version
that no run uses any more. They must be older than any run that may still read or write them. The caller removes them.
Published runs need no file of any cache. Objects that lie elsewhere below the root folder are never orphans.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from fruits_features.cache.store import ABOUT, MANIFEST, CacheSegment
from fruits_features.contract.sealed import DamagedDocumentError


def find_orphans(
    times: Mapping[str, datetime], read: Callable[[str], bytes], before: datetime
) -> tuple[list[str], list[str]]:
    """Return the names of the files that no run will read.

    Args:
        times: Time of the last write to each object, by its name below the caches' root folder.
        read: Returns the content of an object by that name.
        before: Caches are orphans if their last use was before this time, and segments if they have been incomplete or
            superseded since before it.

    Returns:
        Manifests, and all other files. Remove the manifests first, so that no segment is incomplete but valid.
    """
    orphans: list[str] = []
    of_caches = [name for name in times if name.count("/") > 1 or name.endswith(f"/{ABOUT}")]
    for cache, names in _group_by_folder(of_caches, 0).items():
        last_use = times.get(f"{cache}/{ABOUT}") or max(times[name] for name in names)
        orphans.extend(names if last_use < before else _orphans_of_cache(names, times, read, before))
    orphans.sort()
    return [name for name in orphans if _is_manifest(name)], [name for name in orphans if not _is_manifest(name)]


def _orphans_of_cache(
    names: Iterable[str], times: Mapping[str, datetime], read: Callable[[str], bytes], before: datetime
) -> Iterator[str]:
    """Yield the files of segments that have been incomplete or superseded since before a time."""
    segments = {segment: files for segment, files in _group_by_folder(names, 1).items() if segment != ABOUT}
    superseded_at: dict[str, datetime] = {}
    complete: set[str] = set()
    for name, files in segments.items():
        manifest = next(filter(_is_manifest, files), None)
        if manifest:
            try:
                segment = CacheSegment.from_bytes(name, read(manifest))
            except DamagedDocumentError:  # no run reads this segment
                continue
            complete.add(name)
            superseded_at.update(dict.fromkeys(segment.supersedes if segment else (), times[manifest]))
    for name, files in segments.items():
        since = superseded_at.get(name) if name in complete else max(times[file] for file in files)
        if since and since < before:
            yield from files


def _is_manifest(name: str) -> bool:
    return name.endswith(f"/{MANIFEST}")


def _group_by_folder(names: Iterable[str], level: int) -> Mapping[str, list[str]]:
    """Group names by the component of their path at a level."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[name.split("/")[level]].append(name)
    return groups
