import io
from datetime import UTC, datetime

import polars as pl
import pytest

from include import inventory

WHEN = datetime(2026, 11, 22, tzinfo=UTC)


class ListedBucket:
    """Stands for an S3 client: pages as boto3 gives them."""

    def __init__(self, *pages: list[tuple[str, int]]) -> None:
        self.pages = pages

    def get_paginator(self, operation: str) -> "ListedBucket":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **_: str) -> list[dict]:
        return [
            {"Contents": [{"Key": key, "Size": size, "ETag": f'"{size}"', "LastModified": WHEN} for key, size in page]}
            if page
            else {"KeyCount": 0}
            for page in self.pages
        ]


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
    assert inventory.split_and_category(relative_key) == expected


def test_write_keeps_every_object_but_folder_markers() -> None:
    bucket = ListedBucket(
        [("images/", 0), ("images/Limes/", 0), ("images/Limes/1.jpg", 7)], [("images/stray.jpg", 0)], []
    )
    file = io.BytesIO()

    summary = inventory.write(inventory.list_objects(bucket, "fruits", "images/"), file)

    frame = pl.read_parquet(file.getvalue())
    assert frame["key"].to_list() == ["images/Limes/1.jpg", "images/stray.jpg"]
    assert frame["category"].to_list() == ["Limes", None]
    assert frame["etag"].to_list() == ["7", "0"]
    assert (summary.images, summary.size_bytes, summary.uncategorised, summary.categories) == (2, 7, 1, {"Limes"})


def test_write_more_than_one_batch_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "BATCH_ROWS", 10)
    bucket = ListedBucket([(f"Limes/{n:02}.jpg", n) for n in range(25)])
    file = io.BytesIO()

    summary = inventory.write(inventory.list_objects(bucket, "fruits", ""), file)

    assert summary.images == 25
    assert pl.read_parquet(file.getvalue())["size"].to_list() == list(range(25))


def test_digest_tells_a_changed_object_from_an_unchanged_one() -> None:
    def digest(*objects: tuple[str, int]) -> str:
        return inventory.write(inventory.list_objects(ListedBucket(list(objects)), "fruits", ""), io.BytesIO()).digest

    assert digest(("a/1.jpg", 1), ("a/2.jpg", 2)) == digest(("a/1.jpg", 1), ("a/2.jpg", 2))
    assert digest(("a/1.jpg", 1), ("a/2.jpg", 2)) != digest(("a/1.jpg", 1), ("a/2.jpg", 3))
