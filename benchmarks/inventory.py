"""Measure time and peak memory of an inventory (docs/measurements/speed.md).

    PYTHONPATH=.:spark_apps python -m benchmarks.inventory --images 90380 --reported 5000000

The benchmark lists a bucket of the local AWS behind a proxy with S3's latency, sequentially and by folder. It then
reads an S3 Inventory report of many more objects. Each measurement runs in a subprocess. The objects have a few bytes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
from mypy_boto3_s3 import S3Client

from benchmarks import subprocess_measure
from include.dev.local_aws.local import LocalAws
from include.dev.local_aws.s3.fault_proxy import S3FaultProxy
from include.inventory import listing, listing_xml, s3_inventory, writer
from include.inventory.image_filter import ImageFilter

BUCKET, PREFIX, REPORTS = "fruits", "images/", "reports/"
CATEGORIES = 131
ROWS_PER_FILE = 1_000_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def keys(images: int) -> Iterator[str]:
    """Yield keys of images, named as in Fruits-360."""
    for n in range(images):
        split = "Test" if n % 4 == 0 else "Training"
        yield f"{PREFIX}{split}/Fruit {n // 4 % CATEGORIES:03}/{n:09}_100.jpg"


def make_images(folder: Path, images: int) -> None:
    """Write small objects into the bucket's folder."""
    for key in keys(images):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(key.encode())


def make_report(folder: Path, images: int) -> None:
    """Write an S3 Inventory report of `images` objects into the bucket's folder."""
    (folder / REPORTS / "data").mkdir(parents=True)
    names, files = keys(images), []
    for first in range(0, images, ROWS_PER_FILE):
        rows = [next(names) for _ in range(min(ROWS_PER_FILE, images - first))]
        columns = {"bucket": [BUCKET] * len(rows), "key": rows, "size": [5000] * len(rows)}
        columns |= {"e_tag": [f"{first + n:032x}" for n in range(len(rows))], "last_modified_date": [NOW] * len(rows)}
        path = folder / REPORTS / "data" / f"{first:09}.parquet"
        pq.write_table(pa.table(columns), path)
        with path.open("rb") as file:
            files.append({"key": f"{REPORTS}data/{path.name}", "MD5checksum": file_digest(file, "md5").hexdigest()})
    document = {"sourceBucket": BUCKET, "destinationBucket": BUCKET, "fileFormat": "Parquet", "files": files}
    dated = folder / REPORTS / f"{NOW:%Y-%m-%dT%H-%MZ}"
    dated.mkdir()
    (dated / "manifest.json").write_text(json.dumps(document))
    with (dated / "manifest.json").open("rb") as file:
        (dated / "manifest.checksum").write_text(file_digest(file, "md5").hexdigest())


def listed(s3: S3Client, way: str) -> Iterator[pa.RecordBatch]:
    """Return the objects of the bucket, listed in one of the compared ways."""
    if way == "sequentially":
        listing.MAX_CONCURRENT_FOLDERS = 1
        return listing.list_objects(s3, BUCKET, PREFIX)
    if way == "by folder":
        return listing.list_objects(s3, BUCKET, PREFIX)
    report = s3_inventory.newest(s3, f"s3://{BUCKET}/{REPORTS}", BUCKET, NOW)
    return s3_inventory.list_objects(s3, report, BUCKET, PREFIX)


def take(way: str) -> None:
    """Take the inventory, and print its time and memory."""
    session = boto3.Session()
    listing_xml.parse_objects_quickly(session)
    s3 = session.client("s3")
    size = 0

    def store(_: str, file: IO[bytes]) -> None:
        nonlocal size
        size += file.seek(0, os.SEEK_END)

    started, before = time.perf_counter(), time.process_time()
    summary = writer.write(writer.ImageRows(listed(s3, way), ImageFilter(PREFIX)), store)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - before
    peak = subprocess_measure.peak_mb()
    figures = f"{summary.images} | {wall_s:.1f} | {cpu_s:.1f} | {peak:.0f} | {size / 2**20:.1f} | {summary.digest[:8]}"
    print(f"| {way} | {figures} |", flush=True)


def main() -> None:
    """Create the bucket, and take its inventory in each way in a subprocess."""
    parser = argparse.ArgumentParser("python -m benchmarks.inventory", description="Measure the inventory.")
    parser.add_argument("--images", type=int, default=90_380, help="objects to list (default: %(default)s)")
    parser.add_argument(
        "--reported", type=int, default=5_000_000, help="objects of an S3 Inventory report (default: %(default)s)"
    )
    parser.add_argument("--latency", type=float, default=0.1, help="latency of each response in seconds")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        take(arguments.way)
        return
    with tempfile.TemporaryDirectory() as folder, LocalAws(folder) as aws:
        make_images(aws.s3_folder / BUCKET, arguments.images)
        make_report(aws.s3_folder / BUCKET, arguments.reported)
        print(
            f"| listed | objects | seconds | CPU seconds | peak MB | Parquet MB | digest |\n{'|---' * 7}|", flush=True
        )
        server = urlsplit(aws.environment["AWS_ENDPOINT_URL_S3"])
        with S3FaultProxy((str(server.hostname), int(server.port or 80)), latency_s=arguments.latency) as proxy:
            for way in ("sequentially", "by folder", "report"):
                command = [sys.executable, "-m", "benchmarks.inventory", "--way", way]
                environment = aws.process_environment | {"AWS_ENDPOINT_URL_S3": proxy.url}
                subprocess.run(command, check=True, env=environment)  # noqa: S603 - this module


if __name__ == "__main__":
    main()
