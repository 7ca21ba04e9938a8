"""List the objects of a bucket from a report of S3 Inventory, for buckets too large to list every day.

S3 writes a report daily or weekly below `<prefix>/<source bucket>/<configuration>/`: `data/*.parquet`, and for each
report `<time>/manifest.json` with `<time>/manifest.checksum` ("Locating your inventory list" in the Amazon S3 User
Guide). The checksums are verified. The report must be in Parquet, with size, last modified date and ETag.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fruits_features.contract.layout import split
from include.inventory.writer import BATCH_ROWS, LISTING_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

MAX_AGE = timedelta(days=8)
"""Largest age of a report. Reports are written daily or weekly, so an older one means that they have stopped."""

_FIELDS = {"key": "key", "size": "size", "etag": "e_tag", "last_modified": "last_modified_date"}
"""Columns of a report by the columns of `LISTING_SCHEMA`."""

_TIME_FORMAT = "%Y-%m-%dT%H-%MZ/"
_TIME_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\dZ/")


class ReportError(Exception):
    """The report cannot be used. The message names the remedy."""


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a report, with the MD5 of its content in hexadecimal."""

    bucket: str
    key: str
    md5: str


@dataclass(frozen=True)
class InventoryReport:
    """A report: URI of its manifest, time at which S3 began to list the bucket, and files."""

    uri: str
    taken_at: datetime
    files: tuple[DataFile, ...]


def newest(s3: S3Client, folder: str, bucket: str, now: datetime) -> InventoryReport:
    """Return the newest complete report.

    Args:
        s3: Client that may read the report.
        folder: URI `s3://…/<configuration>/`.
        bucket: Bucket that the report must list.
        now: Current time.

    Raises:
        ReportError: There is no report, it is too old, or it lists another bucket or is in another format.
    """
    if folder.rstrip("/").endswith("/hive"):
        raise ReportError(
            f"FRUITS_INVENTORY_REPORT names the Hive manifests, {folder}, which have no checksums: set it to the "
            f"folder above, {folder.rstrip('/').removesuffix('hive')}."
        )
    reports = _reports(s3, *split(folder.rstrip("/") + "/"), bucket)
    report = next((report for report in reports if report), None)
    if report is None:
        raise ReportError(
            f"There is no complete S3 Inventory report below {folder}: set FRUITS_INVENTORY_REPORT to the folder of "
            "the dated reports with manifest.json, wait for the first report, or unset it to list the bucket."
        )
    if now - report.taken_at > MAX_AGE:
        raise ReportError(
            f"The newest S3 Inventory report, {report.uri}, is from {report.taken_at:%Y-%m-%d}, more than "
            f"{MAX_AGE.days} days ago: check whether its configuration is still enabled, or unset "
            "FRUITS_INVENTORY_REPORT."
        )
    return report


def _reports(s3: S3Client, report_bucket: str, prefix: str, bucket: str) -> Iterator[InventoryReport | None]:
    """Yield the reports, newest first; `None` for an incomplete one."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=report_bucket, Prefix=prefix, Delimiter="/")
    names = [entry["Prefix"].removeprefix(prefix) for page in pages for entry in page.get("CommonPrefixes", [])]
    for name in sorted(filter(_TIME_PATTERN.fullmatch, names), reverse=True):
        taken_at = datetime.strptime(name, _TIME_FORMAT).replace(tzinfo=UTC)
        yield _read_manifest(s3, f"s3://{report_bucket}/{prefix}{name}", taken_at, bucket)


def _read_manifest(s3: S3Client, folder: str, taken_at: datetime, bucket: str) -> InventoryReport | None:
    """Return the report of a manifest, or `None` if the manifest or its checksum is missing or does not match.

    Raises:
        ReportError: The report lists another bucket or is not in Parquet.
    """
    content, checksum = (_read(s3, f"{folder}manifest.{kind}") for kind in ("json", "checksum"))
    if content is None or checksum is None or checksum.decode().strip().lower() != _md5(content):
        log.warning("%s has no manifest.json with a matching manifest.checksum; trying the report before it.", folder)
        return None
    manifest: dict[str, Any] = json.loads(content)
    uri = f"{folder}manifest.json"
    if manifest["sourceBucket"] != bucket:
        raise ReportError(
            f"{uri} lists bucket {manifest['sourceBucket']}, but the images are in {bucket}: set "
            "FRUITS_INVENTORY_REPORT to the report of that bucket, or unset it."
        )
    if manifest["fileFormat"] != "Parquet":
        raise ReportError(
            f"{uri} is in {manifest['fileFormat']}: set the output format of the S3 Inventory configuration to "
            "Apache Parquet."
        )
    data_bucket = manifest["destinationBucket"].rpartition(":")[2]
    return InventoryReport(
        uri, taken_at, tuple(DataFile(data_bucket, file["key"], file["MD5checksum"]) for file in manifest["files"])
    )


def list_objects(s3: S3Client, report: InventoryReport, bucket: str, prefix: str) -> Iterator[pa.RecordBatch]:
    """Yield all current objects of a bucket below a prefix, in the order of the report.

    One file at a time is on disk, and one batch of rows in memory.

    Yields:
        Rows of the schema `LISTING_SCHEMA`.

    Raises:
        ReportError: A file lacks a column, or its checksum is not that of the manifest.
    """
    for file in report.files:
        with tempfile.TemporaryFile() as content:
            s3.download_fileobj(file.bucket, file.key, content)
            _check(file, content, report)
            for batch in _read_batches(content, file):
                yield _below(batch, bucket, prefix)


def _check(file: DataFile, content: IO[bytes], report: InventoryReport) -> None:
    content.seek(0)
    md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()  # type: ignore[arg-type] # `IO` has no `readinto`
    if md5 != file.md5:
        raise ReportError(
            f"s3://{file.bucket}/{file.key} has the MD5 {md5}, but {report.uri} lists {file.md5}: wait for the next "
            "report, or unset FRUITS_INVENTORY_REPORT."
        )


def _read_batches(content: IO[bytes], file: DataFile) -> Iterator[pa.RecordBatch]:
    parquet = pq.ParquetFile(content, pre_buffer=False)
    columns = set(parquet.schema_arrow.names)
    missing = sorted({"bucket", *_FIELDS.values()} - columns)
    if missing:
        raise ReportError(
            f"s3://{file.bucket}/{file.key} lacks {', '.join(missing)}: add size, last modified date and ETag to the "
            "fields of the S3 Inventory configuration."
        )
    used = {"bucket", "is_latest", "is_delete_marker", *_FIELDS.values()}
    yield from parquet.iter_batches(BATCH_ROWS, columns=sorted(used & columns))


def _below(rows: pa.RecordBatch, bucket: str, prefix: str) -> pa.RecordBatch:
    """Return the current objects of the bucket below the prefix, without older versions and delete markers."""
    kept = pc.and_(pc.equal(rows["bucket"], bucket), pc.starts_with(rows["key"], prefix))
    if "is_latest" in rows.schema.names:
        kept = pc.and_(kept, pc.fill_null(rows["is_latest"], True))  # noqa: FBT003 - the value, not a switch
    if "is_delete_marker" in rows.schema.names:
        kept = pc.and_not(kept, pc.fill_null(rows["is_delete_marker"], False))  # noqa: FBT003 - as above
    current = rows.filter(kept)
    return pa.RecordBatch.from_arrays(
        [current[name].cast(LISTING_SCHEMA.field(column).type) for column, name in _FIELDS.items()],
        schema=LISTING_SCHEMA,
    )


def _read(s3: S3Client, uri: str) -> bytes | None:
    bucket, key = split(uri)
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
