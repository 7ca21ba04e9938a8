"""Compaction of small segments, and removal of orphans."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fruits_features.cache import compaction, vacuum
from fruits_features.cache.compaction import select_segments
from fruits_features.cache.store import CacheSegment, FeatureCache, StoredFile, StoredPart
from fruits_features.extraction import batches
from tests.support.small_runs import Images, Runs, photograph

DAY = timedelta(days=1)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket with five images and a text file."""
    images = Images()
    monkeypatch.setattr(batches, "open_bucket", lambda *_: images)
    monkeypatch.setattr(compaction, "MAX_SEGMENTS", 3)
    for number in range(5):
        images.put(f"images/Lime/{number}.png", photograph(number))
    images.put("images/Lime/text.png", b"no image at all")
    return Runs(tmp_path, images)


def segments(runs: Runs) -> list[str]:
    return sorted(path.parent.name for path in Path(runs.store).rglob("manifest.json"))


def days(runs: Runs, count: int) -> None:
    """Run once per day, each time with one more image and one replaced image."""
    for number in range(count):
        runs.images.put(f"images/Lime/more{number}.png", photograph(100 + number))
        runs.images.put("images/Lime/0.png", photograph(200 + number))
        runs.run(f"day {number}")


def segment(name: str, rows: int) -> CacheSegment:
    return CacheSegment(name, "run", (StoredPart("index", 1, "", (StoredFile("file", rows, 1, 1, ()),)),))


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([100, 1, 1], []),
        ([100, 1, 1, 1], [1, 1, 1]),
        ([100, 3, 1, 1, 1], [3, 1, 1, 1]),
        ([100, 80, 5, 5], [5, 5]),
        ([8, 4, 2, 1], [2, 1]),
        ([10, 10, 10, 10], [10, 10, 10, 10]),
    ],
)
def test_selected_segments_are_not_larger_than_all_smaller_ones_together(rows: list[int], chosen: list[int]) -> None:
    selected = select_segments([segment(f"{n}", count) for n, count in enumerate(rows)], max_segments=3)

    assert [one.rows for one in selected] == chosen


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [([4, 4, 4, 4], [4, 4]), ([3, 3, 3, 3], [3, 3, 3]), ([9, 9, 9, 9], []), ([30, 2, 4, 2], [2, 4, 2])],
)
def test_compacted_segments_fit_in_memory(monkeypatch: pytest.MonkeyPatch, rows: list[int], chosen: list[int]) -> None:
    monkeypatch.setattr(compaction, "MAX_ROWS", 9)

    selected = select_segments([segment(f"{n}", count) for n, count in enumerate(rows)], max_segments=3)

    assert [one.rows for one in selected] == chosen


def test_segments_above_the_limit_become_one_with_the_same_rows(runs: Runs) -> None:
    days(runs, 4)
    assert len(segments(runs)) == 5
    runs.images.requested.clear()

    outcome = runs.run("after")

    assert (outcome.reused, runs.images.requested) == (10, [])
    runs.run("from scratch", store=None)
    assert runs.table("after").drop(["pca"]) == runs.table("from scratch").drop(["pca"])
    assert runs.table("after", "quarantine") == runs.table("from scratch", "quarantine")


def test_several_tasks_write_each_row_of_the_compacted_segment_once(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "IMAGES_PER_PARTITION", 2)
    expected = ["images/Lime/text.png", *(f"images/Lime/{number}.png" for number in range(5))]
    expected += [f"images/Lime/more{number}.png" for number in range(4)]
    runs.images.put("alone.png", photograph(300))  # rejected for a reason that is not cached
    days(runs, 4)

    (folder,) = Path(runs.store).iterdir()
    cache = FeatureCache(str(folder), {})
    (compacted,) = [segment for segment in cache.segments() if segment.name.startswith("compacted")]
    keys = cache.read([compacted]).index["key"].to_pylist()

    assert len(compacted.parts) == 4
    assert sorted(keys) == sorted(expected)
    assert runs.run("after").reused == 10


def test_segments_of_rejected_images_are_compacted_too(runs: Runs) -> None:
    runs.run("first")
    for number in range(4):
        runs.images.put(f"images/Lime/bad{number}.png", b"no image at all: %d" % number)
        runs.run(f"day {number}")
    assert len(segments(runs)) == 6
    runs.images.requested.clear()

    runs.run("after")

    assert runs.images.requested == []
    assert runs.table("after", "quarantine").num_rows == 5


def test_superseded_segments_are_removed_only_when_they_are_old(runs: Runs) -> None:
    days(runs, 4)
    (compacted,) = [name for name in segments(runs) if name.startswith("compacted")]
    now = datetime.now(UTC)

    assert runs.sweep(now - DAY) == []
    removed = runs.sweep(now + DAY)

    assert segments(runs) == [compacted]
    assert len({name.split("/")[1] for name in removed}) == 4
    assert runs.run("after").reused == 10


def test_leftovers_of_crashed_run_are_removed_when_they_are_old(runs: Runs) -> None:
    runs.run("day")
    (folder,) = Path(runs.store).iterdir()
    (folder / "crashed-1").mkdir()
    (folder / "crashed-1" / "described-0.parquet").write_bytes(b"")
    now = datetime.now(UTC)

    assert runs.sweep(now - DAY) == []
    (removed,) = runs.sweep(now + DAY)

    assert removed.endswith("crashed-1/described-0.parquet")
    assert runs.run("after").reused == 6


def test_cache_that_no_run_has_used_for_long_is_removed_completely(runs: Runs) -> None:
    runs.run("day")
    runs.run("other", features=("texture",))
    old, now = datetime.now(UTC) - 40 * DAY, datetime.now(UTC)
    times = {
        path.relative_to(runs.store).as_posix(): old if "other-" in path.as_posix() else now
        for path in Path(runs.store).rglob("*.*")
        if path.is_file()
    }
    unused = next(name.split("/")[0] for name, at in times.items() if at == old)
    times[f"{unused}/about.json"] = old

    manifests, rest = vacuum.find_orphans(times, lambda name: Path(runs.store, name).read_bytes(), now - 30 * DAY)

    assert sorted(manifests + rest) == sorted(name for name in times if name.startswith(unused))
    assert len(manifests) == 1
