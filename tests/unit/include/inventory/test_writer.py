from datetime import UTC, datetime
from hashlib import sha256
from typing import IO

import polars as pl
import pyarrow as pa
import pytest

from fruits_features.contract import sealed
from include.inventory import writer

WHEN = datetime(2026, 11, 22, tzinfo=UTC)
Listed = tuple[str, int]


def _batch(*objects: Listed, prefix: str = "", excluded: frozenset[str] = frozenset()) -> pa.RecordBatch:
    rows = [{"key": key, "size": size, "etag": str(size), "last_modified": WHEN} for key, size in objects]
    return writer.inventory_rows(pa.RecordBatch.from_pylist(rows, writer.LISTING_SCHEMA), prefix, excluded)


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


@pytest.mark.parametrize(
    ("relative_key", "expected"),
    [
        ("Training/Apple Golden 2/3_100.jpg", ("Training", "Apple Golden 2")),
        ("Limes/1.jpg", (None, "Limes")),
        ("Test/shop/Limes/1.jpg", ("Test", "Limes")),
        ("shop/Test/1.jpg", (None, "Test")),
        ("Training/stray.jpg", ("Training", None)),
        ("stray.jpg", (None, None)),
        ("Crème brûlée #1/50%+.jpg", (None, "Crème brûlée #1")),
    ],
)
def test_split_and_category_come_from_the_folders(relative_key: str, expected: tuple) -> None:
    assert writer.split_and_category(relative_key) == expected


def test_inventory_has_all_objects_but_folder_markers_and_excluded_ones() -> None:
    first = [("images/", 0), ("images/Limes/", 0), ("images/Limes/1.jpg", 7)]
    second = [("images/_SUCCESS", 0), ("images/stray.jpg", 0)]
    excluded = frozenset({"images/_SUCCESS"})

    summary, files = _write(*(_batch(*page, prefix="images/", excluded=excluded) for page in (first, [], second)))

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
