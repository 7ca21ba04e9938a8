from datetime import UTC, datetime
from hashlib import sha256
from typing import IO

import polars as pl
import pyarrow as pa
import pytest

from fruits_features.contract import sealed
from include.inventory import writer
from include.inventory.image_filter import ImageFilter

WHEN = datetime(2026, 11, 22, tzinfo=UTC)
Listed = tuple[str, int]


def _batch(*objects: Listed, prefix: str = "", marker: str | None = None) -> pa.RecordBatch:
    rows = [{"key": key, "size": size, "etag": str(size), "last_modified": WHEN} for key, size in objects]
    listed = pa.RecordBatch.from_pylist(rows, writer.LISTING_SCHEMA)
    (batch,) = writer.ImageRows([listed], ImageFilter(prefix, marker))
    return batch


def _write(*batches: pa.RecordBatch) -> tuple[writer.Summary, dict[str, pl.DataFrame]]:
    files: dict[str, pl.DataFrame] = {}
    digests: dict[str, str] = {}

    def store(name: str, file: IO[bytes]) -> None:
        content = file.read()
        if name == "_digests.json":
            assert sealed.decode(content)["files"] == digests
        else:
            digests[name] = sha256(content).hexdigest()
            files[name] = pl.read_parquet(content)

    return writer.write(batches, store), files


def test_inventory_has_all_objects_but_folder_markers_and_excluded_ones() -> None:
    first = [("images/", 0), ("images/Limes/", 0), ("images/Limes/1.jpg", 7)]
    second = [("images/_SUCCESS", 0), ("images/stray.jpg", 0)]

    summary, files = _write(
        *(_batch(*page, prefix="images/", marker="images/_SUCCESS") for page in (first, [], second))
    )

    frame = files["part-00000.parquet"]
    assert frame["key"].to_list() == ["images/Limes/1.jpg", "images/stray.jpg"]
    assert frame["category"].to_list() == ["Limes", None]
    assert frame["etag"].to_list() == ["7", "0"]
    assert (summary.images, summary.size_bytes, summary.uncategorised, summary.categories) == (2, 7, 1, {"Limes"})


def test_inventory_of_several_batches_and_files_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_ROWS", 4)
    monkeypatch.setattr(writer, "MAX_PART_ROWS", 10)

    summary, files = _write(*(_batch((f"Limes/{n:02}.jpg", n)) for n in range(25)))

    assert summary.images == 25
    assert {name: frame.height for name, frame in files.items()} == {
        "part-00000.parquet": 12,
        "part-00001.parquet": 12,
        "part-00002.parquet": 1,
    }
    assert pl.concat(files.values())["size"].to_list() == list(range(25))


def test_empty_inventory_writes_no_file() -> None:
    summary, files = _write(_batch())

    assert (summary.images, files) == (0, {})


def test_digest_depends_on_contents_and_not_on_order() -> None:
    def digest(*objects: Listed) -> str:
        return _write(*(_batch(one) for one in objects))[0].digest

    assert digest(("a/1.jpg", 1), ("a/2.jpg", 2)) == digest(("a/2.jpg", 2), ("a/1.jpg", 1))
    assert digest(("a/1.jpg", 1), ("a/2.jpg", 2)) != digest(("a/1.jpg", 1), ("a/2.jpg", 3))
    assert digest(("a/1.jpg", 1), ("a/2.jpg", 2)) != digest(("a/1.jpg", 2), ("a/2.jpg", 1))
    assert digest(("a/1.jpg", 1)) != digest()


def _warnings(*keys: str) -> list[str]:
    return _write(_batch(*((key, 1) for key in keys)))[0].warnings


def test_splits_that_are_used_as_meant_give_no_warning() -> None:
    assert _warnings("Limes/1.jpg", "Kiwi/1.jpg") == []
    assert _warnings("train/Limes/1.jpg", "val/Limes/2.jpg", "fruits-360/Test/Limes/3.jpg") == []


def test_test_images_that_are_fitted_give_a_warning() -> None:
    (warning,) = _warnings("fruits-360/Test/Limes/1.jpg", "Limes/2.jpg", "validation/Limes/3.jpg")
    assert "fitted on all images, those of Validation and Test included" in warning


def test_images_outside_the_splits_give_a_warning() -> None:
    (warning,) = _warnings("Training/Limes/1.jpg", "papers/1.jpg", "papers/2.jpg")
    assert warning.startswith("2 images are in no split, so the projection is not fitted on them.")


def test_category_named_like_a_split_gives_a_warning() -> None:
    (warning,) = _warnings("Limes/test/1.jpg", "Limes/Train/1.jpg")
    assert warning.startswith("The category 'Train', 'test' has the name of a split.")


def test_fitted_images_are_those_of_training_or_all() -> None:
    assert _write(_batch(("train/a/1.jpg", 1), ("test/a/2.jpg", 1)))[0].fitted == 1
    assert _write(_batch(("a/1.jpg", 1), ("a/2.jpg", 1)))[0].fitted == 2
