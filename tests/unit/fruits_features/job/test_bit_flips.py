"""Single bits are flipped at seeded random places of each kind of object that a run reads.

No flip changes a published row unnoticed, and no flip of cached state stops a run. All runs are complete runs in this
process, without Spark.
"""

from pathlib import Path
from shutil import copytree, rmtree

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from obstore.exceptions import PermissionDeniedError

from fruits_features.cache import compaction
from fruits_features.contract.errors import RunError
from fruits_features.io import object_store
from fruits_features.job.inventory import Inventory
from tests.support.bit_flips import flip_bits
from tests.support.small_runs import Images, Runs, Stored, photograph, run_in_process

FLIPS = 24
"""Flips per kind of object."""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of ten images and one text, and a first run with a shared feature cache."""
    images = Images()
    run_in_process(monkeypatch, images)
    for number in range(10):
        images.put(f"images/Training/{('Apple', 'Lime')[number % 2]}/{number}.png", photograph(number))
    images.put("images/Training/Lime/text.png", b"no image at all")
    runs = Runs(tmp_path, images)
    runs.run("monday")
    return runs


def kept_rows(runs: Runs, name: str) -> tuple[pa.Table, pa.Table]:
    return runs.table(name), runs.table(name, "quarantine")


@pytest.mark.parametrize("by_group", [False, True], ids=["complete-files", "row-groups"])
@pytest.mark.parametrize("kind", ["manifest.json", "about.json", "index-*.parquet", "described-*.parquet"])
def test_flip_in_the_feature_cache_changes_no_row_and_stops_no_run(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, kind: str, *, by_group: bool
) -> None:
    if by_group:
        monkeypatch.setattr("fruits_features.cache.data_files.GROUP_BYTES", 1)
        monkeypatch.setattr("fruits_features.cache.data_files.FULL_READ_SHARE", 2.0)
        monkeypatch.setattr("fruits_features.cache.data_files.FULL_READ_BYTES", 0)
        rmtree(runs.store)
        runs.run("monday")
    runs.images.put("images/Training/Lime/new.png", photograph(100))
    published = runs.layout("monday").portable_projection
    runs.run("tuesday", store=None, refit="never", published=published)
    expected = kept_rows(runs, "tuesday")
    intact = runs.folder / "intact"
    copytree(runs.store, intact)
    recomputed = 0

    for place, flipped in flip_bits(min(Path(runs.store).rglob(kind)).read_bytes(), FLIPS, seed=len(kind)):
        min(Path(runs.store).rglob(kind)).write_bytes(flipped)
        outcome = runs.run("tuesday", refit="never", published=published)
        assert kept_rows(runs, "tuesday") == expected, place
        recomputed += outcome.reused <= 1  # the attempt that found the damage has extracted the new image
        rmtree(runs.store)
        copytree(intact, runs.store)

    assert recomputed == (0 if kind == "about.json" else FLIPS)


def test_compaction_of_a_damaged_segment_is_left_to_a_later_run(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.images.put("images/Training/Lime/gone.png", photograph(100))
    runs.run("tuesday")
    del runs.images.objects["images/Training/Lime/gone.png"]
    (damaged,) = Path(runs.store).rglob("tuesday-*/described-*.parquet")
    damaged.write_bytes(bytes(damaged.stat().st_size))
    monkeypatch.setattr(compaction, "MAX_SEGMENTS", 1)

    assert runs.run("wednesday").reused == 11
    assert not damaged.with_name("manifest.json").exists()


def test_damage_in_every_segment_leads_to_a_run_without_the_cache(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionDeniedError("no deletions")

    for day in range(4):
        runs.images.put(f"images/Training/Lime/day{day}.png", photograph(100 + day))
        runs.run(f"day {day}")
    for path in Path(runs.store).rglob("described-*.parquet"):
        path.write_bytes(bytes(path.stat().st_size))
    monkeypatch.setattr(object_store, "remove", refuse)

    outcome = runs.run("today")

    runs.run("from scratch", store=None)
    assert outcome.reused == 0
    assert runs.table("today").drop(["pca"]) == runs.table("from scratch").drop(["pca"])
    assert "Its images are extracted again" in caplog.text
    assert "cannot be removed" in caplog.text


@pytest.mark.parametrize("refit", ["auto", "never"])
def test_flip_in_the_published_projection_is_a_reason_to_fit_again(
    runs: Runs, refit: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(runs.layout("monday").portable_projection)
    intact, refused = path.read_bytes(), 0
    messages: set[str] = set()
    runs.run("tuesday", refit="never", published=str(path))
    expected = kept_rows(runs, "tuesday")

    for place, flipped in flip_bits(intact, FLIPS, seed=1):
        path.write_bytes(flipped)
        try:
            outcome = runs.run("tuesday", refit=refit, published=str(path))
        except RunError as error:
            messages.add(str(error).partition("(")[0])
            refused += 1
            continue
        refused += outcome.kept_from is None
        if outcome.kept_from:
            assert kept_rows(runs, "tuesday") == expected, place

    assert refused == FLIPS
    expected_messages = {f"--refit is never, but the published projection {path} cannot be kept: it cannot be read "}
    assert messages == (expected_messages if refit == "never" else set())
    assert refit == "never" or f"{path} is not kept: it cannot be read (its digest does not match" in caplog.text


def test_flip_in_the_inventory_fails_the_run_with_the_name_of_the_file(runs: Runs, tmp_path: Path) -> None:
    from include.inventory import writer

    table = pa.Table.from_pylist(runs.images.inventory(), schema=writer.SCHEMA)
    folder = tmp_path / "inventory"
    folder.mkdir()
    writer.write(table.to_batches(), lambda name, file: folder.joinpath(name).write_bytes(file.read()) and None)
    expected = Inventory.of(str(folder)).read()

    for name in ("part-00000.parquet", "_digests.json"):
        intact = (folder / name).read_bytes()
        for place, flipped in flip_bits(intact, FLIPS, seed=2):
            (folder / name).write_bytes(flipped)
            with pytest.raises(RunError, match=r"^\S+ is damaged: .*; take the inventory again\.$|incomplete"):
                assert Inventory.of(str(folder)).read() == expected, place
        (folder / name).write_bytes(intact)


@pytest.mark.parametrize("answers", [[True, False], [True, True, False]], ids=["once", "twice"])
def test_flip_in_an_image_on_its_way_is_fetched_again(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, answers: list[bool]
) -> None:
    key = "images/Training/Lime/1.png"
    stored, get = runs.images.objects[key], runs.images.get
    flips = (flipped for _, flipped in flip_bits(stored.data, FLIPS, seed=4))
    pending = list(answers)

    def get_flipped(name: str) -> object:
        is_flipped = name == key and pending.pop(0)
        runs.images.objects[key] = Stored(next(flips), stored.etag) if is_flipped else stored
        return get(name)

    monkeypatch.setattr(runs.images, "get", get_flipped)

    runs.run("tuesday", store=None)

    assert runs.table("tuesday").drop(["pca"]) == runs.table("monday").drop(["pca"])
    assert pending == []


def test_image_with_other_bytes_in_each_answer_is_quarantined_and_not_cached(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "images/Training/Lime/1.png"
    stored, get = runs.images.objects[key], runs.images.get
    flips = (flipped for _, flipped in flip_bits(stored.data, FLIPS, seed=5))

    def get_flipped(name: str) -> object:
        if name == key:
            runs.images.objects[key] = Stored(next(flips), stored.etag)
        return get(name)

    monkeypatch.setattr(runs.images, "get", get_flipped)

    runs.run("tuesday", [*runs.images.inventory()], store=str(runs.folder / "other"))
    (rejected,) = runs.table("tuesday", "quarantine").filter(pc.field("reason") == "unavailable").to_pylist()
    monkeypatch.setattr(runs.images, "get", get)
    runs.images.objects[key] = stored
    runs.run("wednesday", store=str(runs.folder / "other"))

    assert "S3 returned other bytes each of 3 times, none of them with the MD5" in rejected["detail"]
    assert runs.table("wednesday").drop(["pca"]) == runs.table("monday").drop(["pca"])
