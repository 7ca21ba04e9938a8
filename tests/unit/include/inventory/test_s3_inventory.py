"""An S3 Inventory report lists the objects of a bucket, or is rejected with the reason."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.inventory import s3_inventory

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.local import LocalAws

FOLDER = "reports/fruits/daily/"
TAKEN_AT = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
NOW = TAKEN_AT + timedelta(days=1)
FIELDS = (
    ("bucket", pa.string()),
    ("key", pa.string()),
    ("version_id", pa.string()),
    ("is_latest", pa.bool_()),
    ("is_delete_marker", pa.bool_()),
    ("size", pa.int64()),
    ("last_modified_date", pa.timestamp("ms", tz="UTC")),
    ("e_tag", pa.string()),
)


def _row(key: str, **other: object) -> dict[str, Any]:
    plain = {"bucket": "fruits", "size": 7, "last_modified_date": TAKEN_AT, "e_tag": f"etag of {key}"}
    return {"key": key, "is_latest": True, "is_delete_marker": False, **plain, **other}


class Reports:
    """A bucket that S3 Inventory writes into."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self.s3, self.bucket = s3, bucket

    def put(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def data(self, name: str, *rows: dict[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Write a data file and return its entry in a manifest."""
        schema = pa.schema([(field, kind) for field, kind in FIELDS if field not in without])
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), file)
        key = f"{FOLDER}data/{name}.parquet"
        self.put(key, file.getvalue())
        return {
            "key": key,
            "size": len(file.getvalue()),
            "MD5checksum": md5(file.getvalue(), usedforsecurity=False).hexdigest(),
        }

    def manifest(self, time: str, *files: dict[str, Any], checksum: str | None = None, **changed: str) -> None:
        """Write a manifest and its checksum."""
        document = {
            "sourceBucket": "fruits",
            "destinationBucket": f"arn:aws:s3:::{self.bucket}",
            "fileFormat": "Parquet",
            "files": files,
            **changed,
        }
        content = json.dumps(document).encode()
        self.put(f"{FOLDER}{time}/manifest.json", content)
        self.put(
            f"{FOLDER}{time}/manifest.checksum", (checksum or md5(content, usedforsecurity=False).hexdigest()).encode()
        )

    def newest(self, below: str = "", now: datetime = NOW) -> s3_inventory.InventoryReport:
        return s3_inventory.newest(self.s3, f"s3://{self.bucket}/{FOLDER}{below}", "fruits", now)

    def keys(self, report: s3_inventory.InventoryReport, prefix: str = "images/") -> list[str]:
        batches = s3_inventory.list_objects(self.s3, report, "fruits", prefix)
        return [key for batch in batches for key in batch["key"].to_pylist()]


@pytest.fixture
def reports(local_aws: LocalAws, bucket: str) -> Reports:
    return Reports(local_aws.s3(), bucket)


def test_current_objects_below_the_prefix_are_returned_as_by_a_listing(reports: Reports) -> None:
    first = reports.data(
        "one",
        _row("images/a/2 é+.jpg"),
        _row("images/a/1.jpg", version_id="new"),
        _row("images/a/1.jpg", version_id="old", is_latest=False, e_tag="old"),
        _row("images/a/0.jpg", is_delete_marker=True, size=None, e_tag=None),
        _row("logs/1"),
        _row("images/x.jpg", bucket="another"),
    )
    second = reports.data("two", _row("images/b/1.jpg", is_latest=None, is_delete_marker=None))
    reports.manifest("2026-11-21T01-00Z", first, second)

    report = reports.newest()
    rows = pa.Table.from_batches(s3_inventory.list_objects(reports.s3, report, "fruits", "images/")).to_pylist()

    assert report.taken_at == TAKEN_AT
    assert rows == [
        {"key": key, "size": 7, "etag": f"etag of {key}", "last_modified": TAKEN_AT}
        for key in ("images/a/2 é+.jpg", "images/a/1.jpg", "images/b/1.jpg")
    ]


def test_report_of_an_unversioned_bucket_is_read(reports: Reports) -> None:
    without = ("version_id", "is_latest", "is_delete_marker")
    reports.manifest("2026-11-21T01-00Z", reports.data("one", _row("images/a/1.jpg"), without=without))

    assert reports.keys(reports.newest()) == ["images/a/1.jpg"]


def test_newest_report_that_is_complete_is_taken(reports: Reports) -> None:
    reports.manifest("2026-11-20T01-00Z", reports.data("older", _row("images/a/older.jpg")))
    reports.manifest("2026-11-21T01-00Z", reports.data("newer", _row("images/a/newer.jpg")))
    reports.manifest("2026-11-22T01-00Z", checksum="0" * 32)
    reports.put(f"{FOLDER}2026-11-23T01-00Z/manifest.json", b"{}")

    assert reports.keys(reports.newest()) == ["images/a/newer.jpg"]


def test_folder_of_hive_manifests_is_rejected_with_the_folder_above(reports: Reports) -> None:
    reports.manifest("2026-11-21T01-00Z", reports.data("one", _row("images/a/1.jpg")))

    with pytest.raises(
        s3_inventory.ReportError, match=rf"Hive .* set it to the folder above, s3://{reports.bucket}/{FOLDER}\."
    ):
        reports.newest("hive/")


def test_missing_report_names_the_folder_and_the_remedy(reports: Reports) -> None:
    with pytest.raises(
        s3_inventory.ReportError, match=rf"no complete .* s3://{reports.bucket}/{FOLDER}: set FRUITS_INV"
    ):
        reports.newest()


def test_report_that_is_too_old_is_rejected(reports: Reports) -> None:
    reports.manifest("2026-11-21T01-00Z")

    assert reports.newest(now=TAKEN_AT + timedelta(days=8))
    with pytest.raises(s3_inventory.ReportError, match=r"is from 2026-11-21, more than 8 days ago: check whether"):
        reports.newest(now=TAKEN_AT + timedelta(days=8, minutes=1))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"sourceBucket": "vegetables"}, "lists bucket vegetables, but the images are in fruits"),
        ({"fileFormat": "CSV"}, "is in CSV: set the output format of the S3 Inventory configuration to Apache Parquet"),
    ],
)
def test_report_of_another_bucket_or_format_is_rejected(
    reports: Reports, changed: dict[str, str], sentence: str
) -> None:
    reports.manifest("2026-11-21T01-00Z", **changed)

    with pytest.raises(s3_inventory.ReportError, match=sentence):
        reports.newest()


def test_report_without_the_needed_fields_names_them(reports: Reports) -> None:
    reports.manifest("2026-11-21T01-00Z", reports.data("one", _row("images/a/1.jpg"), without=("e_tag", "size")))

    with pytest.raises(s3_inventory.ReportError, match=r"one\.parquet lacks e_tag, size: add size, last modified"):
        reports.keys(reports.newest())


def test_file_with_another_checksum_is_rejected(reports: Reports) -> None:
    reports.manifest("2026-11-21T01-00Z", reports.data("one", _row("images/a/1.jpg")))
    reports.data("one", _row("images/a/1.jpg"), _row("images/a/2.jpg"))

    with pytest.raises(
        s3_inventory.ReportError, match=r"one\.parquet has the MD5 \w{32}, but s3://.*manifest\.json lists"
    ):
        reports.keys(reports.newest())
