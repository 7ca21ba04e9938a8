"""Runs in several shards publish the same rows as runs in one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from fruits_features.cache.store import CacheIndex, FeatureCache, StoredPart
from fruits_features.contract.errors import RunError
from fruits_features.io.staging import Staging
from fruits_features.job import shards
from fruits_features.job.inventory import InventoryError
from fruits_features.output import features_writer
from fruits_features.recogniser import sample
from tests.support.small_runs import Images, Runs, photograph, run_in_process

ETAGS = {"one-bucket": "f" * 32 + "-2", "many-buckets": None}
"""ETags of all images: opaque and equal, or their MD5s."""


@pytest.fixture(params=ETAGS)
def runs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of 24 images of three categories and two splits, a text, and an object without category."""
    images = Images()
    run_in_process(monkeypatch, images)
    for number in range(24):
        split, category = ("Training", "Test")[number % 5 == 0], ("Apple", "Éclair", "Lime")[number // 8]
        images.put(f"images/{split}/{category}/{number}.png", photograph(number), ETAGS[request.param])
    images.put("images/Training/Lime/text.png", b"no image at all")
    images.put("alone.png", photograph(100))
    return Runs(tmp_path, images)


@pytest.fixture
def sharded(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Every run has several shards, and every shard several partitions."""
    with monkeypatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", 700)
        patch.setattr(shards, "SAMPLED_ROWS", 1)
        patch.setattr("fruits_features.job.inventory.IMAGES_PER_PARTITION", 2)
        patch.setattr("fruits_features.output.snapshot.MIN_SELECTION_ROWS", 2)
        yield patch


def assert_equal_rows(runs: Runs, one: str, other: str) -> None:
    assert runs.table(one).drop(["pca"]) == runs.table(other).drop(["pca"])
    assert runs.table(one, "quarantine") == runs.table(other, "quarantine")


def test_first_run_in_shards_writes_the_rows_of_one_in_memory(runs: Runs, sharded: pytest.MonkeyPatch) -> None:
    outcome = runs.run("shards")

    assert (outcome.inventoried, outcome.quarantined, outcome.reused) == (26, 2, 0)
    assert {"look up the cache", "plan the final files"} <= set(runs.stages)
    assert not Path(runs.layout("shards").staging).exists()
    sharded.undo()
    assert runs.run("memory", store=None).reasons == outcome.reasons
    assert_equal_rows(runs, "shards", "memory")


def test_rerun_in_shards_extracts_only_what_is_new(runs: Runs, sharded: pytest.MonkeyPatch) -> None:
    runs.run("monday")
    moved = runs.images.objects.pop("images/Training/Apple/1.png")
    runs.images.objects["images/Training/Zest/1.png"] = moved
    runs.images.put("images/Test/Apple/0.png", photograph(200))
    runs.images.requested.clear()

    outcome = runs.run("tuesday", refit="always")

    is_md5 = "-" not in moved.etag
    assert set(runs.images.requested) == {"images/Test/Apple/0.png"} | (
        set() if is_md5 else {"images/Training/Zest/1.png"}
    )
    assert outcome.reused == (24 if is_md5 else 23)
    sharded.undo()
    runs.run("memory", store=None)
    assert_equal_rows(runs, "tuesday", "memory")
    fitted, expected = (np.array(runs.table(name)["pca"].to_pylist()) for name in ("tuesday", "memory"))
    np.testing.assert_allclose(fitted, expected, atol=1e-4)


def test_files_and_recogniser_do_not_depend_on_the_shards(runs: Runs, sharded: pytest.MonkeyPatch) -> None:
    sharded.setattr(features_writer, "OUTPUT_FILE_BYTES", 2**12)
    sharded.setattr(features_writer, "MIN_EVEN_FILE_BYTES", 1)
    sharded.setattr(sample, "SAMPLE_IMAGES", 9)
    sharded.setattr(sample, "MIN_EACH", 3)
    outcome = runs.run("shards")
    sizes = [path.stat().st_size for path in sorted(Path(runs.layout("shards").features).iterdir())]
    sharded.setattr(shards, "SHARD_BYTES", 2**26)

    assert runs.run("memory", store=None).recogniser == outcome.recogniser

    assert len(sizes) > 2
    in_memory = sorted(Path(runs.layout("memory").features).iterdir())
    assert len(in_memory) == len(sizes)
    assert_equal_rows(runs, "shards", "memory")


def test_object_listed_twice_with_different_etags_raises(runs: Runs, sharded: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    entries = runs.images.inventory()
    entries.append({**entries[3], "etag": "0" * 32})

    with pytest.raises(InventoryError, match=f"lists '{entries[3]['key']}' twice"):
        runs.run("monday", entries)


def test_damaged_index_in_shards_is_extracted_again(runs: Runs, sharded: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    runs.run("monday")
    index = min(Path(runs.store).rglob("index-*.parquet"))
    index.write_bytes(bytes(index.stat().st_size))

    outcome = runs.run("tuesday")

    assert (outcome.inventoried, outcome.quarantined, outcome.reused) == (26, 2, 0)


def test_rejection_that_may_not_occur_again_is_tried_again_in_shards(
    runs: Runs,
    sharded: pytest.MonkeyPatch,  # noqa: ARG001
) -> None:
    entries, key = runs.images.inventory(), "images/Training/Apple/1.png"
    gone = runs.images.objects.pop(key)
    assert runs.run("monday", entries).reasons["gone"] == 1
    runs.images.objects[key] = gone

    outcome = runs.run("tuesday")

    assert (outcome.inventoried, outcome.quarantined, outcome.reused) == (26, 2, 24)


@pytest.fixture
def groups(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Sizes of the parts of the cache's index that each task reads together."""
    groups: list[list[int]] = []
    read_parts = FeatureCache.read_parts

    def record(cache: FeatureCache, parts: Sequence[tuple[str, StoredPart, int]]) -> CacheIndex:
        if runs.stages[-1] == "read the cache's index":
            groups.append([part.size for _, part, _ in parts])
        return read_parts(cache, parts)

    monkeypatch.setattr(FeatureCache, "read_parts", record)
    return groups


def test_tasks_read_a_large_index_in_groups_of_bounded_size(
    runs: Runs, groups: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        runs.images.put(f"images/Test/Lime/more{number}.png", photograph(300 + number))
        runs.run(f"day {number}")
    sizes = sorted(path.stat().st_size for path in Path(runs.store).rglob("index-*.parquet"))
    monkeypatch.setattr(shards, "INDEX_SHARD_BYTES", sum(sizes))
    runs.run("one shard")
    assert groups == []

    monkeypatch.setattr(shards, "INDEX_SHARD_BYTES", sum(sizes) - 1)
    assert runs.run("two shards").reused == 28
    assert [sorted(group) for group in groups] == [sizes]
    groups.clear()
    monkeypatch.setattr(shards, "INDEX_SHARD_BYTES", sizes[-1])
    assert runs.run("more shards").reused == 28
    assert sorted(size for group in groups for size in group) == sizes
    assert len(groups) > 1
    assert all(sum(group[:-1]) < sizes[-1] for group in groups)


def test_shards_have_equal_numbers_of_images(runs: Runs, sharded: pytest.MonkeyPatch) -> None:
    staged, results = shards.Shards.staged, []
    sharded.setattr(shards.Shards, "staged", lambda *inputs: results.append(staged(*inputs)) or results[-1])

    runs.run("monday")

    images = [shard.images for shard in results[0].shards]
    assert sum(images) == 26
    assert len(images) > 2
    assert max(images) - min(images) <= 1


def test_cores_share_the_moments_of_cached_features(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits_features.output.snapshot.MIN_SELECTION_ROWS", 2)
    runs.run("monday")

    runs.run("tuesday", refit="always")

    assert "compute moments of cached features" in runs.stages


def test_driver_receives_no_rows_of_a_run_in_shards(runs: Runs, sharded: pytest.MonkeyPatch) -> None:
    """Partitions, selections and the tables between tasks are files."""
    staged: list[object] = []
    for name in ("keep", "send"):
        put = getattr(Staging, name)
        sharded.setattr(Staging, name, lambda place, table, put=put: staged.append(put(place, table)) or staged[-1])

    runs.run("monday")

    assert len(staged) > 20
    assert all(isinstance(table, str) for table in staged)


def test_empty_inventory_in_shards_raises(runs: Runs, sharded: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    with pytest.raises(RunError, match="lists no object"):
        runs.run("monday", [])
