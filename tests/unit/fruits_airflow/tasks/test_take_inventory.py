"""An inventory is a listing, or comes from an S3 Inventory report. Both have the same digest and replace leftovers."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.tasks import take_inventory
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")

REPORTS = "reports/inventory/"


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def s3(local_aws: LocalAws, bucket: str) -> S3Client:
    client = local_aws.s3()
    for key in ("images/a/1.jpg", "images/b/2.jpg", "images/_SUCCESS"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return client


def _write(bucket: str, *excluded: str) -> take_inventory.Inventory:
    return take_inventory.write_inventory(
        S3Hook(), (bucket, "images/"), f"s3://{bucket}/runs/r/inventory", frozenset(excluded)
    )


def _inventory(s3: S3Client, bucket: str) -> dict[str, pl.DataFrame]:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="runs/r/inventory/")["Contents"]
    contents = {one["Key"]: s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed}
    return {key.rpartition("/")[2]: pl.read_parquet(content) for key, content in contents.items()}


def _report(s3: S3Client, bucket: str, taken_at: datetime) -> None:
    """Write the report that S3 Inventory would write of the current bucket."""
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    rows = [
        {"bucket": bucket, "key": one["Key"], "size": one["Size"], "e_tag": one["ETag"].strip('"')}
        | {"last_modified_date": one["LastModified"]}
        for one in reversed(listed)
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    s3.put_object(Bucket=bucket, Key=f"{REPORTS}data/1.parquet", Body=file.getvalue())
    data = {"key": f"{REPORTS}data/1.parquet", "MD5checksum": md5(file.getvalue(), usedforsecurity=False).hexdigest()}
    manifest = {"sourceBucket": bucket, "destinationBucket": f"arn:aws:s3:::{bucket}", "fileFormat": "Parquet"}
    content = json.dumps(manifest | {"files": [data]}).encode()
    folder = f"{REPORTS}{taken_at:%Y-%m-%dT%H-%MZ}/"
    s3.put_object(Bucket=bucket, Key=f"{folder}manifest.json", Body=content)
    s3.put_object(
        Bucket=bucket, Key=f"{folder}manifest.checksum", Body=md5(content, usedforsecurity=False).hexdigest().encode()
    )


def test_listing_replaces_the_inventory_of_an_earlier_try(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="runs/r/inventory/part-00001.parquet", Body=b"of an earlier try")

    inventory = _write(bucket, "images/_SUCCESS")

    assert inventory.source == "listing"
    assert datetime.now(UTC) - datetime.fromisoformat(inventory.taken_at) < timedelta(minutes=1)
    (frame,) = _inventory(s3, bucket).values()
    assert frame["key"].to_list() == ["images/a/1.jpg", "images/b/2.jpg"]


def test_report_and_listing_have_the_same_digest(s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = _write(bucket, "images/_SUCCESS")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    _report(s3, bucket, yesterday)
    s3.put_object(Bucket=bucket, Key="images/a/after-the-report.jpg", Body=b"new")
    monkeypatch.setenv("FRUITS_BUCKET", bucket)
    monkeypatch.setenv("FRUITS_INVENTORY_REPORT", f"s3://{bucket}/{REPORTS}")
    settings.cache_clear()

    reported = _write(bucket, "images/_SUCCESS")

    assert reported.summary.digest == listed.summary.digest
    assert reported.source == f"s3://{bucket}/{REPORTS}{yesterday:%Y-%m-%dT%H-%MZ}/manifest.json"
    assert reported.taken_at == yesterday.replace(second=0, microsecond=0).isoformat(timespec="microseconds")
    (frame,) = _inventory(s3, bucket).values()
    assert sorted(frame["key"]) == ["images/a/1.jpg", "images/b/2.jpg"]


def test_report_is_not_used_for_another_bucket(s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_INVENTORY_REPORT", f"s3://{bucket}/{REPORTS}")
    settings.cache_clear()

    assert _write(bucket).source == "listing"
    assert len(_inventory(s3, bucket)) == 1


@pytest.mark.usefixtures("s3")
def test_unusable_report_fails_the_run(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUITS_BUCKET", bucket)
    monkeypatch.setenv("FRUITS_INVENTORY_REPORT", f"s3://{bucket}/{REPORTS}")
    settings.cache_clear()

    with pytest.raises(AirflowFailException, match="There is no complete S3 Inventory report below s3://"):
        _write(bucket)
