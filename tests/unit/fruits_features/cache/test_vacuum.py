"""Files of the caches that no run will read."""

from datetime import UTC, datetime, timedelta

from fruits_features.cache.store import CacheSegment
from fruits_features.cache.vacuum import find_orphans

NOW = datetime(2026, 11, 30, tzinfo=UTC)
MANIFEST = "cache/segment/manifest.json"
SEGMENT = CacheSegment("segment", "run", ()).to_bytes()


def orphans(days: dict[str, float], manifest: bytes = SEGMENT) -> list[str]:
    """Return the orphans among files of the given ages, the manifests first."""
    times = {name: NOW - timedelta(days=age) for name, age in days.items()}
    manifests, rest = find_orphans(times, lambda _: manifest, NOW - timedelta(days=2))
    return [*manifests, *rest]


def test_complete_segment_of_a_used_cache_stays() -> None:
    assert orphans({"cache/about.json": 0, MANIFEST: 300, "cache/segment/index-0.parquet": 300}) == []


def test_segment_with_a_damaged_manifest_is_an_orphan_when_it_is_old() -> None:
    files = {MANIFEST: 3, "cache/segment/index-0.parquet": 3}

    assert orphans({"cache/about.json": 0, **files}, b"no manifest") == list(files)
    assert orphans({"cache/about.json": 0, **dict.fromkeys(files, 1)}, b"no manifest") == []


def test_incomplete_segment_that_a_run_still_writes_stays() -> None:
    assert orphans({"cache/about.json": 0, "cache/segment/a.parquet": 3, "cache/segment/b.parquet": 1}) == []


def test_cache_without_a_description_is_as_old_as_its_newest_file() -> None:
    assert orphans({MANIFEST: 3, "cache/segment/index-0.parquet": 4}) == [MANIFEST, "cache/segment/index-0.parquet"]
    assert orphans({MANIFEST: 1, "cache/segment/index-0.parquet": 4}) == []
