"""What lies in a bucket, from a report of S3 Inventory: for buckets too large to be listed every day.

S3 writes one daily or weekly below `<prefix>/<source bucket>/<configuration>/`: `data/*.parquet`, and for each report
`<time>/manifest.json` with `<time>/manifest.checksum`, and `hive/dt=<time>/symlink.txt` for Hive. Both kinds of
manifest are understood; the first comes with checksums, which are checked. See "Locating your inventory list" in
Amazon S3's user guide.

The report must be in Parquet and tell size, last-modified date and ETag.
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
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.inventory.writer import BATCH_ROWS, LISTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

OLDEST = timedelta(days=8)
"""Reports come daily or weekly: when the newest is older, no more are written."""

_FIELDS = {"key": "key", "size": "size", "etag": "e_tag", "last_modified": "last_modified_date"}
"""Names of the columns of `LISTED` in a report."""

_JSON, _HIVE = "%Y-%m-%dT%H-%MZ/", "dt=%Y-%m-%d-%H-%M/"
_SHAPES = {_JSON: r"\d{4}-\d\d-\d\dT\d\d-\d\dZ/", _HIVE: r"dt=\d{4}-\d\d-\d\d-\d\d-\d\d/"}


class ReportError(Exception):
    """The report cannot be used; the message tells the way out."""


@dataclass(frozen=True)
class DataFile:
    """One of a report's Parquet files; `md5` is `None` where the manifest does not tell it."""

    bucket: str
    key: str
    md5: str | None = None


@dataclass(frozen=True)
class InventoryReport:
    """A report: its manifest's URI, when S3 began to look at the bucket, and its files."""

    uri: str
    taken_at: datetime
    files: tuple[DataFile, ...]


def newest(s3: S3Client, folder: str, bucket: str, now: datetime) -> InventoryReport:
    """Find the newest report that is complete.

    Args:
        s3: a client that may read the report.
        folder: `s3://…/<configuration>/`, or its `hive/`.
        bucket: the one that the report has to be about.
        now: the time.

    Raises:
        ReportError: there is none, it is too old, or not one that can be used.
    """
    place = urlsplit(folder.rstrip("/") + "/")
    reports = _find(s3, place.netloc, place.path.lstrip("/"), bucket)
    report = next((report for report in reports if report), None)
    if report is None:
        raise ReportError(
            f"There is no complete S3 Inventory report below {folder}: let FRUITS_INVENTORY_REPORT name the folder "
            "that holds the dated ones with manifest.json, wait for the first report, or unset it to list the bucket."
        )
    if now - report.taken_at > OLDEST:
        raise ReportError(
            f"The newest S3 Inventory report, {report.uri}, is of {report.taken_at:%Y-%m-%d}, more than {OLDEST.days} "
            "days ago: see whether its configuration is still enabled, or unset FRUITS_INVENTORY_REPORT."
        )
    return report


def _find(s3: S3Client, store: str, prefix: str, bucket: str) -> Iterator[InventoryReport | None]:
    """Look at the reports, newest first; `None` for one that is not complete."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=store, Prefix=prefix, Delimiter="/")
    names = [one["Prefix"].removeprefix(prefix) for page in pages for one in page.get("CommonPrefixes", [])]
    for name in sorted(names, reverse=True):
        for shape, pattern in _SHAPES.items():
            if re.fullmatch(pattern, name):
                taken_at = datetime.strptime(name, shape).replace(tzinfo=UTC)
                read = _by_json if shape == _JSON else _by_hive
                yield read(s3, f"s3://{store}/{prefix}{name}", taken_at, bucket)


def _by_json(s3: S3Client, folder: str, taken_at: datetime, bucket: str) -> InventoryReport | None:
    """Read a report's own manifest; none where it is not the one that its checksum is of."""
    content, checksum = (_read(s3, f"{folder}manifest.{kind}") for kind in ("json", "checksum"))
    if content is None or checksum is None or checksum.decode().strip().lower() != _md5(content):
        log.warning("%s holds no manifest.json with its manifest.checksum (yet); looking for an older one.", folder)
        return None
    manifest: dict[str, Any] = json.loads(content)
    uri = f"{folder}manifest.json"
    if manifest["sourceBucket"] != bucket:
        raise ReportError(
            f"{uri} is about bucket {manifest['sourceBucket']}, but the images lie in {bucket}: let "
            "FRUITS_INVENTORY_REPORT name that bucket's report, or unset it."
        )
    if manifest["fileFormat"] != "Parquet":
        raise ReportError(f"{uri} is in {manifest['fileFormat']}: let S3 Inventory write Apache Parquet.")
    store = manifest["destinationBucket"].rpartition(":")[2]
    return InventoryReport(
        uri, taken_at, tuple(DataFile(store, one["key"], one["MD5checksum"]) for one in manifest["files"])
    )


def _by_hive(s3: S3Client, folder: str, taken_at: datetime, bucket: str) -> InventoryReport | None:  # noqa: ARG001 - each file tells
    """Read a report's manifest for Hive: one address a line, no checksum."""
    uri = f"{folder}symlink.txt"
    content = _read(s3, uri)
    if content is None:
        return None
    places = [urlsplit(line) for line in content.decode().split()]
    return InventoryReport(uri, taken_at, tuple(DataFile(place.netloc, place.path.lstrip("/")) for place in places))


def list_objects(s3: S3Client, report: InventoryReport, bucket: str, prefix: str) -> Iterator[pa.RecordBatch]:
    """Yield every current object of a bucket below a prefix, as rows of `LISTED`, in the report's own order.

    One file is on disk at a time, and some thousand rows in memory.

    Raises:
        ReportError: a file lacks a column, or is not the one that the manifest is about.
    """
    for file in report.files:
        with tempfile.TemporaryFile() as content:
            s3.download_fileobj(file.bucket, file.key, content)
            _check(file, content, report)
            for batch in _read_batches(content, file):
                yield _below(batch, bucket, prefix)


def _check(file: DataFile, content: IO[bytes], report: InventoryReport) -> None:
    content.seek(0)
    found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()  # type: ignore[arg-type]
    if file.md5 not in {None, found}:
        raise ReportError(
            f"s3://{file.bucket}/{file.key} has the MD5 {found}, but {report.uri} says {file.md5}: wait for the next "
            "report, or unset FRUITS_INVENTORY_REPORT."
        )


def _read_batches(content: IO[bytes], file: DataFile) -> Iterator[pa.RecordBatch]:
    parquet = pq.ParquetFile(content, pre_buffer=False)
    there = set(parquet.schema_arrow.names)
    missing = sorted({"bucket", *_FIELDS.values()} - there)
    if missing:
        raise ReportError(
            f"s3://{file.bucket}/{file.key} lacks {', '.join(missing)}: add size, last modified date and ETag to the "
            "fields of the S3 Inventory configuration."
        )
    wanted = {"bucket", "is_latest", "is_delete_marker", *_FIELDS.values()}
    yield from parquet.iter_batches(BATCH_ROWS, columns=sorted(wanted & there))


def _below(rows: pa.RecordBatch, bucket: str, prefix: str) -> pa.RecordBatch:
    """Keep the current objects of the bucket below the prefix: no older versions, no marks of deletion."""
    kept = pc.and_(pc.equal(rows["bucket"], bucket), pc.starts_with(rows["key"], prefix))
    if "is_latest" in rows.schema.names:
        kept = pc.and_(kept, pc.fill_null(rows["is_latest"], True))  # noqa: FBT003 - the value, not a switch
    if "is_delete_marker" in rows.schema.names:
        kept = pc.and_not(kept, pc.fill_null(rows["is_delete_marker"], False))  # noqa: FBT003
    found = rows.filter(kept)
    return pa.RecordBatch.from_arrays(
        [found[name].cast(LISTED.field(column).type) for column, name in _FIELDS.items()], schema=LISTED
    )


def _read(s3: S3Client, uri: str) -> bytes | None:
    place = urlsplit(uri)
    try:
        return s3.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
