"""A concurrent listing of folders equals the sequential listing, in S3's order."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

from include.inventory import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from include.dev.local_aws.local import LocalAws

WHEN = datetime(2026, 11, 22, tzinfo=UTC)


class ListedBucket:
    """Substitute for an S3 client that returns small pages like boto3."""

    def __init__(self, keys: set[str], page: int = 3) -> None:
        self.keys, self.page = sorted(keys, key=str.encode), page
        self.asked: list[str] = []

    def get_paginator(self, operation: str) -> ListedBucket:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str, Delimiter: str = "") -> Iterator[dict[str, Any]]:  # noqa: N803
        assert Bucket == "fruits"
        entries: dict[str, bool] = {}
        for key in self.keys:
            if key.startswith(Prefix):
                head, delimiter, _ = key.removeprefix(Prefix).partition(Delimiter or "\0")
                entries[f"{Prefix}{head}{delimiter}"] = bool(delimiter)
        for start in range(0, len(entries), self.page):
            self.asked.append(Prefix)
            shown = list(entries.items())[start : start + self.page]
            contents = [
                {"Key": key, "Size": len(key), "ETag": f'"{key}"', "LastModified": WHEN}
                for key, folder in shown
                if not folder
            ]
            yield {
                "CommonPrefixes": [{"Prefix": name} for name, folder in shown if folder],
                **({"Contents": contents} if contents else {}),
            }


def _keys(bucket: ListedBucket, prefix: str = "") -> list[str]:
    batches = list(listing.list_objects(bucket, "fruits", prefix))  # type: ignore[arg-type]
    return [key for batch in batches for key in batch["key"].to_pylist()]


def test_concatenated_folders_are_the_complete_listing_in_s3s_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_CONCURRENT_FOLDERS", "MAX_PAGES_AHEAD", "MAX_ENTRIES"):
        monkeypatch.setattr(listing, name, 4)
    for seed in range(200):
        random = Random(seed)  # noqa: S311 - names, not secrets
        prefix = random.choice(["", "a/", "a/b/"])
        names = ("".join(random.choices("ab +/é\U0001f34b", k=random.randint(1, 7))) for _ in range(40))
        bucket = ListedBucket({f"{prefix}{name}" for name in names} | {"elsewhere"})

        assert _keys(bucket, prefix) == [key for key in bucket.keys if key.startswith(prefix)], seed


def test_categories_of_splits_are_listed_each_by_itself() -> None:
    categories = [f"{split}/Limes {n}/" for split in ("Training", "Test") for n in range(10)]

    bucket = ListedBucket({f"{category}{n}.jpg" for category in categories for n in range(5)})

    assert len(_keys(bucket)) == 100
    assert set(bucket.asked) == {"", "Training/", "Test/", *categories}
    assert max(bucket.asked.count(category) for category in categories) == 2  # pages


def test_folder_with_too_many_folders_is_not_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_ENTRIES", 50)
    bucket = ListedBucket({f"{n:03}/1.jpg" for n in range(200)}, page=20)

    assert len(_keys(bucket)) == 200
    assert set(bucket.asked) == {""}


def test_local_s3_lists_the_same_with_odd_names(local_aws: LocalAws, bucket: str) -> None:
    s3 = local_aws.s3()
    keys = ["images/Apple/1.jpg", "images/Apple 2/1 #+%.jpg", "images/Äpfel/é.jpg", "images/stray.jpg", "other/1.jpg"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())

    (batch,) = listing.pa.Table.from_batches(listing.list_objects(s3, bucket, "images/")).combine_chunks().to_batches()

    assert batch["key"].to_pylist() == sorted(keys[:4], key=str.encode)
    assert batch["size"].to_pylist() == [len(key.encode()) for key in sorted(keys[:4], key=str.encode)]
    assert all(len(etag) == 32 for etag in batch["etag"].to_pylist())
