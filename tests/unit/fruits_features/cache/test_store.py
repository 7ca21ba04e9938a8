"""The feature cache in complete runs in this process, on a bucket in memory."""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from fruits_features.contract import sealed
from fruits_features.extraction import batches
from fruits_features.job import inventory
from fruits_features.output import features_writer, snapshot
from tests.support.deadly_decoder.sitecustomize import MARK
from tests.support.pictures import stored
from tests.support.small_runs import Images, Runs, photograph

CATEGORIES = ("Apple", "Lime", "Plum")
EXTRACT, WRITE = "extract features", "project and write features"
"""Job descriptions that Spark's workers receive."""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A bucket of twelve images."""
    images = Images()
    monkeypatch.setattr(batches, "open_bucket", lambda *_: images)
    for number in range(12):
        images.put(f"images/Training/{CATEGORIES[number % 3]}/{number}.png", photograph(number))
    return Runs(tmp_path, images)


def requested(runs: Runs) -> list[str]:
    """Return the names of the objects that were requested since the last call, sorted."""
    names = [key.rpartition("/")[2] for key in runs.images.requested]
    runs.images.requested.clear()
    return sorted(names)


def check_rows(runs: Runs, name: str, fresh: str) -> None:
    """Check that a run has the rows of one from scratch, except the components, which are fitted again."""
    runs.run(fresh, store=None)
    requested(runs)
    assert runs.table(name).drop(["pca"]) == runs.table(fresh).drop(["pca"])
    assert runs.table(name, "quarantine") == runs.table(fresh, "quarantine")


def test_second_run_extracts_only_added_and_replaced_images(runs: Runs) -> None:
    first = runs.run("monday")
    assert (first.reused, len(requested(runs))) == (0, 12)
    runs.images.put("images/Training/Lime/new.png", photograph(100))
    runs.images.put("images/Training/Plum/2.png", photograph(101))
    del runs.images.objects["images/Training/Apple/0.png"]

    second = runs.run("tuesday")

    assert requested(runs) == ["2.png", "new.png"]
    assert (second.inventoried, second.quarantined, second.reused) == (12, 0, 10)
    check_rows(runs, "tuesday", "from scratch")


@pytest.mark.parametrize("refit", ["always", "never", "auto"])
def test_small_rerun_does_not_use_sparks_workers(runs: Runs, refit: str) -> None:
    runs.run("monday")
    assert runs.stages == [EXTRACT]
    runs.images.put("images/Training/Lime/new.png", photograph(100))

    runs.run("tuesday", refit=refit, published=runs.layout("monday").portable_projection)

    assert runs.stages == [EXTRACT]
    check_rows(runs, "tuesday", "from scratch")


def test_large_rerun_uses_sparks_workers(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.run("monday")
    monkeypatch.setattr(inventory, "MAX_DRIVER_COST", 40_000)  # about one image
    monkeypatch.setattr(snapshot, "MIN_SELECTION_ROWS", 6)
    monkeypatch.setattr(features_writer, "OUTPUT_FILE_BYTES", 1)
    for number in (100, 101):
        runs.images.put(f"images/Training/Lime/{number}.png", photograph(number))

    runs.run("tuesday")

    assert runs.stages == [EXTRACT, EXTRACT, "compute moments of cached features", WRITE]
    check_rows(runs, "tuesday", "from scratch")


def test_image_that_crashes_the_decoder_in_small_rerun_is_quarantined_alone(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.run("monday")
    runs.images.put("images/Training/Lime/deadly.png", photograph(100) + MARK)
    runs.images.put("images/Training/Lime/sound.png", photograph(101))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "support" / "deadly_decoder"))

    outcome = runs.run("tuesday")

    assert (outcome.inventoried, outcome.quarantined) == (14, 1)
    assert runs.table("tuesday", "quarantine")["reason"].to_pylist() == ["decoder_crash"]


def test_run_on_unchanged_bucket_extracts_and_writes_nothing(runs: Runs) -> None:
    runs.run("monday")
    before = sorted(Path(runs.store).rglob("*"))
    requested(runs)

    second = runs.run("tuesday")

    assert (requested(runs), second.reused) == ([], 12)
    assert sorted(Path(runs.store).rglob("*")) == before
    check_rows(runs, "tuesday", "from scratch")


def test_renamed_folder_changes_the_category_without_extraction(runs: Runs) -> None:
    runs.run("monday")
    requested(runs)
    for key in [key for key in runs.images.objects if "/Lime/" in key]:
        moved = runs.images.objects.pop(key)
        runs.images.put(key.replace("/Training/Lime/", "/Test/Yuzu/"), moved.data)

    runs.run("tuesday")

    assert requested(runs) == []
    assert set(runs.table("tuesday")["category"].to_pylist()) == {"Apple", "Plum", "Yuzu"}
    check_rows(runs, "tuesday", "from scratch")


def test_etag_that_is_not_an_md5_identifies_an_image_only_under_its_key(runs: Runs) -> None:
    for number, etag in enumerate(["f" * 32, "0" * 32 + "-2"]):
        runs.images.put(f"images/Training/Lime/opaque{number}.png", photograph(50 + number), etag)
    runs.run("monday")
    requested(runs)
    for number, etag in enumerate(["f" * 32, "0" * 32 + "-2"]):
        runs.images.put(f"images/Training/Plum/elsewhere{number}.png", photograph(60 + number), etag)

    runs.run("tuesday")

    assert requested(runs) == ["elsewhere0.png", "elsewhere0.png", "elsewhere1.png"]  # "f" * 32 is no MD5: two answers
    check_rows(runs, "tuesday", "from scratch")


def test_rejection_of_image_is_cached_and_one_of_the_bucket_is_not(runs: Runs) -> None:
    runs.images.put("images/Training/Lime/text.png", b"no image at all")
    runs.images.put("images/Training/Lime/gone.png", photograph(70))
    entries = runs.images.inventory()
    gone = runs.images.objects.pop("images/Training/Lime/gone.png")
    runs.run("monday", entries)
    assert sorted(runs.table("monday", "quarantine")["reason"].to_pylist()) == ["gone", "not_an_image"]
    requested(runs)
    runs.images.put("images/Training/Lime/gone.png", gone.data)

    runs.run("tuesday")

    assert requested(runs) == ["gone.png"]
    assert runs.table("tuesday", "quarantine")["reason"].to_pylist() == ["not_an_image"]
    check_rows(runs, "tuesday", "from scratch")


def test_object_without_category_by_another_prefix_is_not_looked_up(runs: Runs) -> None:
    runs.run("monday")
    entries = runs.images.inventory()
    for entry in entries[:3]:
        entry["category"] = None

    runs.run("tuesday", entries)
    inside = runs.run("wednesday")

    assert runs.table("tuesday", "quarantine")["reason"].to_pylist() == ["no_category"] * 3
    assert (inside.inventoried, inside.quarantined) == (12, 0)


def test_image_of_an_unsupported_format_is_read_again_by_the_next_run(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.images.put("images/Training/Lime/phone.heic", stored()["heic"].data)
    with monkeypatch.context() as without_library:
        without_library.setitem(sys.modules, "pillow_heif", None)
        runs.run("monday")
    assert runs.table("monday", "quarantine")["reason"].to_pylist() == ["unsupported_format"]
    requested(runs)

    runs.run("tuesday")

    assert requested(runs) == ["phone.heic"]
    assert runs.table("tuesday", "quarantine").num_rows == 0


def test_run_with_only_transient_rejections_adds_no_segment(runs: Runs) -> None:
    runs.images.put("images/Training/Lime/gone.png", photograph(70))
    entries = runs.images.inventory()
    del runs.images.objects["images/Training/Lime/gone.png"]
    for day in range(3):
        assert runs.run(f"day {day}", entries).quarantined == 1

    assert len(segments(runs)) == 1


@pytest.mark.parametrize(
    "change", [{"features": ("color", "texture")}, {"include_pixels": True}, {"max_image_pixels": 10_000}]
)
def test_run_with_other_arguments_extracts_all_images(runs: Runs, change: dict[str, object]) -> None:
    runs.run("monday")
    requested(runs)

    assert runs.run("tuesday", **change).reused == 0
    assert len(requested(runs)) == 12


def test_run_of_other_code_extracts_all_images(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.run("monday")
    monkeypatch.setattr("fruits_features.cache.store.fingerprint", lambda *_: {"code": "another"})

    assert runs.run("tuesday").reused == 0


def segments(runs: Runs) -> list[Path]:
    return sorted(path.parent for path in Path(runs.store).rglob("manifest.json"))


@pytest.mark.parametrize("lost", ["manifest.json", "index-*.parquet", "described-*.parquet"])
def test_incomplete_segment_is_extracted_again(runs: Runs, lost: str) -> None:
    runs.run("monday")
    requested(runs)
    next(segments(runs)[0].glob(lost)).unlink()

    assert runs.run("tuesday").reused == 0
    assert len(requested(runs)) == 12
    check_rows(runs, "tuesday", "from scratch")


def test_retried_run_writes_a_new_segment_and_reuses_the_first(runs: Runs) -> None:
    runs.run("monday")
    runs.images.put("images/Training/Lime/new.png", photograph(100))

    assert runs.run("monday").reused == 12
    assert len(segments(runs)) == 2


def test_file_with_other_rows_than_its_index_is_extracted_again(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    runs.run("monday")
    first, second = sorted(segments(runs)[0].glob("described-*.parquet"))
    path = segments(runs)[0] / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for part in manifest["parts"]:
        part["files"][0] |= {name: manifest["parts"][1]["files"][0][name] for name in ("size", "blocks")}
    path.write_text(json.dumps(sealed.seal(manifest)))
    first.write_bytes(second.read_bytes())

    assert runs.run("tuesday").reused == 0
    assert "it contains other rows than its index lists. Its images are extracted again." in caplog.text
    check_rows(runs, "tuesday", "from scratch")


def test_few_rows_are_read_by_row_group(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fruits_features.cache.data_files.GROUP_BYTES", 1)
    monkeypatch.setattr("fruits_features.cache.data_files.FULL_READ_SHARE", 2.0)
    monkeypatch.setattr("fruits_features.cache.data_files.FULL_READ_BYTES", 0)
    monkeypatch.setattr("fruits_features.cache.selection.TABLE_BYTES", 4_000)
    runs.run("monday")
    for number in (0, 3, 6):
        runs.images.put(f"images/Training/Apple/{number}.png", photograph(100 + number))

    assert runs.run("tuesday").reused == 9
    check_rows(runs, "tuesday", "from scratch")
    assert isinstance(runs.table("tuesday"), pa.Table)
