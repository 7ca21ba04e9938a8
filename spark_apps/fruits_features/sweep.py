"""What of a store nobody needs any more, so that it can be removed by age. Published runs need nothing of any store.

That is what no run will read: what crashed runs left, volumes that others supersede, and stores of other parameters or
of older code that no run has used. It must be older than any run that may still read or write it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from fruits_features import storage
from fruits_features.store import ABOUT, MANIFEST, Volume

LEAST_AGE = timedelta(days=1)
"""Longer than the longest run: 6 hours for its step."""


class SweepError(ValueError):
    """What was asked for could harm a run; the message tells the way out."""


def sweep(root: str, now: datetime, *, leftovers: timedelta, unused: timedelta) -> list[str]:
    """Remove from all stores below a folder what nobody needs.

    Args:
        root: the folder, such as `s3://bucket/features/described`.
        now: the time to count ages from.
        leftovers: age from which what is incomplete or superseded is removed.
        unused: age from which a store is removed that no run has used.

    Returns:
        What was removed, by its name below the folder.

    Raises:
        SweepError: when an age is less than a run may last.
    """
    if min(leftovers, unused) < LEAST_AGE:
        raise SweepError(f"{min(leftovers, unused)} is less than a run may last; give at least {LEAST_AGE}.")
    times = storage.list_times(root)
    names = unneeded(times, lambda name: storage.read_bytes(root, name), now - leftovers, now - unused)
    for is_manifest in (True, False):
        storage.remove_files(root, [name for name in names if name.endswith(f"/{MANIFEST}") == is_manifest])
    return names


def unneeded(
    times: Mapping[str, datetime], read: Callable[[str], bytes], leftovers: datetime, unused: datetime
) -> list[str]:
    """Tell what nobody needs. Its manifests are to be removed before the rest, so that no volume is half there.

    Args:
        times: when each object was written, by its name below the stores' folder.
        read: gives an object of that name.
        leftovers: what is incomplete, or superseded, since before that time is not needed.
        unused: stores that no run has used since before that time are not needed.
    """
    gone: list[str] = []
    for store, names in _by_folder(times, 0).items():
        last_use = times.get(f"{store}/{ABOUT}") or max(times[name] for name in names)
        gone.extend(names if last_use < unused else _of_used_store(names, times, read, leftovers))
    return sorted(gone)


def _of_used_store(
    names: Iterable[str], times: Mapping[str, datetime], read: Callable[[str], bytes], before: datetime
) -> Iterator[str]:
    """Tell what is incomplete or superseded since before a time."""
    volumes = {volume: of_volume for volume, of_volume in _by_folder(names, 1).items() if volume != ABOUT}
    superseded_at: dict[str, datetime] = {}
    complete: set[str] = set()
    for name, of_volume in volumes.items():
        manifest = next((one for one in of_volume if one.endswith(f"/{MANIFEST}")), None)
        if manifest:
            complete.add(name)
            volume = Volume.from_bytes(name, read(manifest))
            superseded_at.update(dict.fromkeys(volume.supersedes if volume else (), times[manifest]))
    for name, of_volume in volumes.items():
        since = superseded_at.get(name) if name in complete else max(times[one] for one in of_volume)
        if since and since < before:
            yield from of_volume


def _by_folder(names: Iterable[str], level: int) -> Mapping[str, list[str]]:
    """Group names by their folder of a level."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[name.split("/")[level]].append(name)
    return groups
