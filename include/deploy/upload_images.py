"""Upload a folder to S3 concurrently and skip unchanged files.

    python -m include.deploy.upload_images FOLDER s3://BUCKET/PREFIX/

boto3 resolves credentials, endpoint and region, so profiles and SSO work as usual. obstore transfers the data.

A file is skipped if its object has the same size and MD5. With plain or SSE-S3 storage, the MD5 is the ETag in the
listing. With SSE-KMS or a multipart upload it is not, so each upload also stores the MD5 as metadata
(`x-amz-meta-fruits-md5`). The metadata is read only if the size is equal and the ETag is not.
"""

from __future__ import annotations

import argparse
import hashlib
import mimetypes
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import boto3
import obstore
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store
from tqdm import tqdm

from include.deploy.image_files import File, UploadError, find_files
from include.deploy.preflight.caller import sign_in_problem
from include.deploy.preflight.problems import DENIED, EXPIRED, code

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from mypy_boto3_s3 import S3Client
    from obstore.store import ClientConfig

_MD5_METADATA: Final = "fruits-md5"
_EXIT_INTERRUPTED: Final = 130
_MAX_IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
"""Larger files are uploaded in parts."""
_MAX_LISTED_FAILURES: Final = 20
"""Failures listed at the end. The summary counts all of them."""


class Outcome(Enum):
    """The result for one file."""

    UPLOADED = "uploaded"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """The result for one file."""

    outcome: Outcome
    key: str
    sent_bytes: int = 0
    reason: str = ""


@dataclass
class Summary:
    """The result so far.

    Attributes:
        counts: Number of files by outcome.
        sent_bytes: Uploaded bytes.
        failures: Reason of each failure, by key.
        left_out: Number of files and folders that are not images, by kind.
    """

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    sent_bytes: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Add the result of one file."""
        self.counts[result.outcome] += 1
        self.sent_bytes += result.sent_bytes
        if result.reason:
            self.failures[result.key] = result.reason


@dataclass(frozen=True)
class Bucket:
    """A bucket and its two clients.

    Attributes:
        name: Name of the bucket.
        client: boto3's client, for listings.
        store: obstore's store, for data.
    """

    name: str
    client: S3Client
    store: S3Store


def upload(folder: Path, destination: str, jobs: int = 32, *, progress: bool = True) -> Summary:
    """Upload the files below a folder, without those that the inventory would leave out.

    An interrupted upload can be run again. A file that fails after retries is reported and does not stop the others.
    Neither does a folder that cannot be read.

    Args:
        folder: Folder to upload, recursively.
        destination: `s3://bucket/prefix/`. A key is the prefix and the path inside the folder, in Unicode form NFC.
        jobs: Number of concurrent uploads.
        progress: Whether to show a progress bar.

    Raises:
        UploadError: Nothing can be uploaded.
    """
    name, prefix = parse_destination(destination)
    found = find_files(folder, prefix)
    if not found.paths:
        raise UploadError(f"{folder} has no file to upload{''.join(f'; {why}' for why in found.failures.values())}")
    bucket = _open_bucket(name)
    existing = _list_objects(bucket, prefix)
    summary = Summary(left_out=found.left_out)
    for key, reason in found.failures.items():
        summary.add(Result(Outcome.FAILED, key, reason=reason))
    bar = tqdm(total=len(found.paths), unit=" files", disable=not progress)
    with bar, closing(_upload_all(bucket, found.files, existing, jobs)) as results:
        for result in results:
            summary.add(result)
            bar.set_postfix_str(f"{summary.sent_bytes / 1e6:,.1f} MB", refresh=False)
            bar.update()
    return summary


def parse_destination(destination: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix/` into bucket and prefix; the prefix is empty or ends in "/".

    >>> parse_destination("s3://fruits/images"), parse_destination("s3://fruits")
    (('fruits', 'images/'), ('fruits', ''))

    Raises:
        UploadError: The address is not an S3 address.
    """
    scheme, _, rest = destination.partition("://")
    name, _, prefix = rest.partition("/")
    if scheme != "s3" or not name:
        raise UploadError(f"{destination!r} is not an S3 address; write s3://bucket/prefix/")
    prefix = prefix.rstrip("/")
    return name, f"{prefix}/" if prefix else ""


def _open_bucket(name: str) -> Bucket:
    """Open a bucket in its region, for both clients, with boto3's endpoint and credentials.

    Raises:
        UploadError: The bucket, the credentials or the permission is missing, or S3 does not respond.
    """
    session = boto3.Session()
    try:
        client = session.client("s3")
        region = client.head_bucket(Bucket=name).get("BucketRegion") or client.meta.region_name
        if region != client.meta.region_name:
            client = session.client("s3", region_name=region)
        credentials = Boto3CredentialProvider(session, ttl=timedelta(minutes=10))
    except (BotoCoreError, ClientError) as error:
        raise UploadError(_explain(error, name)) from error
    endpoint = client.meta.endpoint_url
    options: ClientConfig = {"allow_http": urlsplit(endpoint).scheme == "http", "timeout": timedelta(minutes=5)}
    store = S3Store(
        name,
        endpoint=endpoint,
        region=region,
        credential_provider=credentials,
        client_options=options,
        retry_config={"max_retries": 5, "retry_timeout": timedelta(minutes=2)},
    )
    return Bucket(name, client, store)


def _list_objects(bucket: Bucket, prefix: str) -> dict[str, tuple[int, str]]:
    """Return the objects under a prefix: size in bytes and ETag without quotes, by key."""
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=prefix)
    try:
        return {
            entry["Key"]: (entry["Size"], entry["ETag"].strip('"'))
            for page in pages
            for entry in page.get("Contents", [])
        }
    except (BotoCoreError, ClientError) as error:
        raise UploadError(_explain(error, bucket.name)) from error


def _explain(error: BotoCoreError | ClientError, bucket: str) -> str:
    """Return the reason and the fix. An answer to a HEAD request has no error code, but its status."""
    if isinstance(error, ClientError):
        reason = code(error)
        if reason in {"404", "NoSuchBucket"}:
            return f"bucket {bucket} does not exist; create it, or correct the address"
        if reason in {*DENIED, "InvalidAccessKeyId", "SignatureDoesNotMatch"}:
            return f"access to bucket {bucket} is denied; allow s3:ListBucket, s3:GetObject and s3:PutObject ({reason})"
        if reason in {*EXPIRED, "400"}:  # S3's status for expired credentials (aws-sdk-js issue 2219)
            return f"S3 refuses the credentials, which have probably expired; sign in again ({reason})"
    elif problem := sign_in_problem(error):
        return f"{problem.sentence} Run `{problem.command}`."
    elif isinstance(error, EndpointConnectionError):
        return f"S3 does not respond; check AWS_ENDPOINT_URL_S3 and the network ({error})"
    return f"bucket {bucket} cannot be used: {error}"


def _upload_all(
    bucket: Bucket, files: Iterable[File], existing: Mapping[str, tuple[int, str]], jobs: int
) -> Generator[Result]:
    """Yield the result of each file, from `jobs` concurrent uploads and a short queue, which bounds the memory.

    Raises:
        UploadError: Access is denied. The remaining files are not uploaded.
    """
    waiting = iter(files)
    stop = threading.Event()

    def work(file: File) -> Result:
        if stop.is_set():
            return Result(Outcome.SKIPPED, file.key)
        return _upload_one(bucket, file, existing.get(file.key))

    with ThreadPoolExecutor(jobs) as pool:
        try:
            running: set[Future[Result]] = {pool.submit(work, file) for file in islice(waiting, 4 * jobs)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(work, file) for file in islice(waiting, len(done))}
                yield from (future.result() for future in done)
        finally:
            stop.set()


def _upload_one(bucket: Bucket, file: File, existing: tuple[int, str] | None) -> Result:
    try:
        size = file.path.stat().st_size
        data = file.path.read_bytes() if size <= _MAX_IN_MEMORY_BYTES else None
        md5 = _md5(file.path, data)
        if existing is not None and _is_same(bucket.store, file.key, (size, md5), existing):
            return Result(Outcome.SKIPPED, file.key)
        kind = mimetypes.guess_type(file.path.name)[0] or "application/octet-stream"
        content = file.path if data is None else data
        obstore.put(
            bucket.store,
            file.key,
            content,
            attributes={"Content-Type": kind, _MD5_METADATA: md5},
            use_multipart=data is None,
        )
    except (PermissionDeniedError, UnauthenticatedError) as error:  # all other files would fail, too
        raise UploadError(f"access to {file.key} is denied; allow s3:PutObject ({_first_line(error)})") from error
    except (OSError, BaseError, ValueError) as error:
        return Result(Outcome.FAILED, file.key, reason=_first_line(error))
    return Result(Outcome.UPLOADED, file.key, sent_bytes=size)


def _is_same(store: S3Store, key: str, local: tuple[int, str], existing: tuple[int, str]) -> bool:
    """Return whether size and MD5 are equal. Read the object's metadata only if its ETag differs."""
    size, md5 = local
    if size != existing[0]:
        return False
    if md5 == existing[1]:
        return True
    attributes: Mapping[str, str] = obstore.get(store, key, options={"head": True}).attributes
    return attributes.get(_MD5_METADATA) == md5


def _md5(path: Path, data: bytes | None) -> str:
    if data is not None:
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 if anything failed, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        summary = upload(arguments.folder, arguments.destination, arguments.jobs)
    except UploadError as error:
        print(f"upload_images: error: {error}", file=sys.stderr)  # noqa: T201 -- a command
        return 1
    except KeyboardInterrupt:
        print("upload_images: stopped; run the same command again to continue", file=sys.stderr)  # noqa: T201 -- a command
        return _EXIT_INTERRUPTED
    for kind, count in sorted(summary.left_out.items()):
        print(f"upload_images: left out {count:,} {kind}", file=sys.stderr)  # noqa: T201 -- a command
    for key, reason in islice(summary.failures.items(), _MAX_LISTED_FAILURES):
        print(f"upload_images: {key}: {reason}", file=sys.stderr)  # noqa: T201 -- a command
    line = ", ".join(f"{count:,} {outcome.value}" for outcome, count in summary.counts.items())
    print(f"{arguments.destination}: {line} ({summary.sent_bytes / 1e6:,.1f} MB sent)")  # noqa: T201 -- a command's result
    return 1 if summary.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.deploy.upload_images",
        description="Upload a folder to S3. Unchanged files are skipped.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to upload; system files are left out")
    parser.add_argument(
        "destination", metavar="s3://BUCKET/PREFIX/", help="the key of a file is PREFIX/ and its path in FOLDER"
    )
    parser.add_argument(
        "--jobs", type=_positive, default=32, metavar="N", help="concurrent uploads (default: %(default)s)"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
