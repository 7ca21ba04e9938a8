"""Upload a folder of files to S3, many at once, skipping what is there: `python -m include.deploy.upload_images FOLDER s3://…`.

boto3 finds the credentials, the endpoint and the bucket, so profiles and SSO work as everywhere; obstore moves the
bytes. A file is skipped when the object of its key has the same size and the same MD5. The MD5 is the listing's ETag
under plain or SSE-S3 storage. It is not under SSE-KMS or after a multipart upload, so every upload also stores it as
metadata (`x-amz-meta-fruits-md5`), which is asked for only where the size agrees and the ETag does not.
"""

from __future__ import annotations

import argparse
import hashlib
import mimetypes
import os
import sys
import threading
import unicodedata
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
import botocore.exceptions
import obstore
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from mypy_boto3_s3 import S3Client
    from obstore.store import ClientConfig

_MD5: Final = "fruits-md5"
_INTERRUPTED: Final = 130
_IN_MEMORY: Final = 8 * 1024 * 1024
"""Larger files are read in parts, in bytes."""
_NAMED: Final = 20
"""Failures named at the end; the rest is counted."""


class UploadError(Exception):
    """The upload cannot start; the message says why and what to do."""


class Outcome(Enum):
    """What became of one file."""

    UPLOADED = "uploaded"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class File:
    """One file to upload.

    Attributes:
        path: Where it is.
        key: The object's key.
    """

    path: Path
    key: str


@dataclass
class Summary:
    """What happened so far."""

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    sent_bytes: int = 0
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Result:
    outcome: Outcome
    key: str
    sent_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Bucket:
    """A bucket, reached both ways.

    Attributes:
        name: Its name.
        client: boto3's client, for questions.
        store: obstore's, for bytes.
    """

    name: str
    client: S3Client
    store: S3Store


def upload(folder: Path, destination: str, jobs: int = 32, *, progress: bool = True) -> Summary:
    """Upload every visible file under a folder.

    Safe to interrupt and to run again. A file that fails, after retries, is reported and holds up no other.

    Args:
        folder: What to upload, recursively.
        destination: `s3://bucket/prefix/`; a key is the prefix and the path inside the folder, in Unicode's NFC.
        jobs: Files in flight.
        progress: Show a progress bar.

    Raises:
        UploadError: When nothing can be uploaded at all.
    """
    name, prefix = parse_destination(destination)
    files, hidden = find_files(folder, prefix)
    if hidden:
        print(f"leaving out {hidden:,} hidden files or folders, such as .DS_Store", file=sys.stderr)  # noqa: T201
    if not files:
        raise UploadError(f"{folder} has no file to upload")
    bucket = _open_bucket(name)
    there = _list_objects(bucket, prefix)
    summary = Summary()
    bar = tqdm(total=len(files), unit=" files", disable=not progress)
    with bar, closing(_upload_all(bucket, files, there, jobs)) as results:
        for result in results:
            summary.counts[result.outcome] += 1
            summary.sent_bytes += result.sent_bytes
            if result.reason:
                summary.failures[result.key] = result.reason
            bar.set_postfix_str(f"{summary.sent_bytes / 1e6:,.1f} MB", refresh=False)
            bar.update()
    return summary


def parse_destination(destination: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix/` into bucket and prefix; the prefix is empty or ends in "/".

    >>> parse_destination("s3://fruits/images"), parse_destination("s3://fruits")
    (('fruits', 'images/'), ('fruits', ''))

    Raises:
        UploadError: When it is no such address.
    """
    scheme, _, rest = destination.partition("://")
    name, _, prefix = rest.partition("/")
    if scheme != "s3" or not name:
        raise UploadError(f"{destination!r} is no S3 address; write s3://bucket/prefix/")
    prefix = prefix.rstrip("/")
    return name, f"{prefix}/" if prefix else ""


def find_files(folder: Path, prefix: str) -> tuple[list[File], int]:
    """List the files under a folder, sorted by key, and count what is hidden.

    macOS writes accents in two characters (NFD) where others write one (NFC): keys are NFC, so that the same folder has
    the same keys from any machine.

    Raises:
        UploadError: When it is no folder, or two names differ only in how their accents are written.
    """
    if not folder.is_dir():
        raise UploadError(f"{folder} is no folder")
    found: dict[str, Path] = {}
    hidden = 0
    for parent, folders, names in os.walk(folder):
        visible = [name for name in names if not name.startswith(".")]
        hidden += len(names) - len(visible) + sum(name.startswith(".") for name in folders)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in visible:
            path = Path(parent, name)
            key = prefix + unicodedata.normalize("NFC", path.relative_to(folder).as_posix())
            if key in found:
                raise UploadError(f"{found[key]} and {path} would both become {key}; rename one")
            found[key] = path
    return [File(found[key], key) for key in sorted(found)], hidden


def _open_bucket(name: str) -> Bucket:
    """Find the bucket and its region with boto3, and give obstore the same endpoint and credentials.

    Raises:
        UploadError: When the bucket, the credentials or the permission is missing, or S3 does not answer.
    """
    session = boto3.Session()
    try:
        client = session.client("s3")
        region = client.head_bucket(Bucket=name).get("BucketRegion") or client.meta.region_name
        if region != client.meta.region_name:
            client = session.client("s3", region_name=region)
        credentials = Boto3CredentialProvider(session, ttl=timedelta(minutes=10))
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
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
    """List once what is under the prefix: key -> size in bytes, ETag without quotes."""
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=prefix)
    try:
        return {
            entry["Key"]: (entry["Size"], entry["ETag"].strip('"'))
            for page in pages
            for entry in page.get("Contents", [])
        }
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise UploadError(_explain(error, bucket.name)) from error


def _explain(error: Exception, bucket: str) -> str:
    code = error.response["Error"]["Code"] if isinstance(error, botocore.exceptions.ClientError) else ""
    if code in {"404", "NoSuchBucket"}:
        return f"there is no bucket {bucket}; make it, or correct the address"
    if code in {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}:
        return f"access to bucket {bucket} is denied; it takes s3:ListBucket, s3:GetObject and s3:PutObject ({code})"
    if isinstance(error, botocore.exceptions.NoCredentialsError):
        return "there are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, botocore.exceptions.EndpointConnectionError):
        return f"S3 does not answer; check AWS_ENDPOINT_URL_S3 and the network ({error})"
    return f"bucket {bucket} cannot be used: {error}"


def _upload_all(
    bucket: Bucket, files: Iterable[File], there: Mapping[str, tuple[int, str]], jobs: int
) -> Generator[_Result]:
    """Keep `jobs` files in flight and a few waiting: neither contents nor futures of the rest are held.

    Raises:
        UploadError: When permission is refused, which stops the rest.
    """
    waiting = iter(files)
    stop = threading.Event()

    def work(file: File) -> _Result:
        return _Result(Outcome.SKIPPED, file.key) if stop.is_set() else _upload_one(bucket, file, there.get(file.key))

    with ThreadPoolExecutor(jobs) as pool:
        try:
            running: set[Future[_Result]] = {pool.submit(work, file) for file in islice(waiting, 4 * jobs)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(work, file) for file in islice(waiting, len(done))}
                yield from (future.result() for future in done)
        finally:
            stop.set()


def _upload_one(bucket: Bucket, file: File, there: tuple[int, str] | None) -> _Result:
    try:
        size = file.path.stat().st_size
        data = file.path.read_bytes() if size <= _IN_MEMORY else None
        md5 = _md5(file.path, data)
        if there is not None and _is_same(bucket.store, file.key, (size, md5), there):
            return _Result(Outcome.SKIPPED, file.key)
        kind = mimetypes.guess_type(file.path.name)[0] or "application/octet-stream"
        content = file.path if data is None else data
        obstore.put(
            bucket.store,
            file.key,
            content,
            attributes={"Content-Type": kind, _MD5: md5},
            use_multipart=data is None,
        )
    except (PermissionDeniedError, UnauthenticatedError) as error:  # would fail for every other file, too
        raise UploadError(f"access to {file.key} is denied; it takes s3:PutObject ({_first_line(error)})") from error
    except (OSError, BaseError, ValueError) as error:
        return _Result(Outcome.FAILED, file.key, reason=_first_line(error))
    return _Result(Outcome.UPLOADED, file.key, sent_bytes=size)


def _is_same(store: S3Store, key: str, here: tuple[int, str], there: tuple[int, str]) -> bool:
    """Whether size and MD5 agree; asks for the object's metadata only where its ETag is no proof."""
    size, md5 = here
    if size != there[0]:
        return False
    if md5 == there[1]:
        return True
    found: Mapping[str, str] = obstore.get(store, key, options={"head": True}).attributes
    return found.get(_MD5) == md5


def _md5(path: Path, data: bytes | None) -> str:
    if data is not None:
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 when anything failed, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        summary = upload(arguments.folder, arguments.destination, arguments.jobs)
    except UploadError as error:
        print(f"upload_images: error: {error}", file=sys.stderr)  # noqa: T201 -- a command
        return 1
    except KeyboardInterrupt:
        print("upload_images: stopped; run the same command again to go on", file=sys.stderr)  # noqa: T201 -- a command
        return _INTERRUPTED
    for key, reason in islice(summary.failures.items(), _NAMED):
        print(f"upload_images: {key}: {reason}", file=sys.stderr)  # noqa: T201 -- a command
    line = ", ".join(f"{count:,} {outcome.value}" for outcome, count in summary.counts.items())
    print(f"{arguments.destination}: {line} ({summary.sent_bytes / 1e6:,.1f} MB sent)")  # noqa: T201 -- a command's result
    return 1 if summary.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.deploy.upload_images",
        description="Upload a folder to S3; what is there already is skipped.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="uploaded recursively, without hidden files")
    parser.add_argument("destination", metavar="s3://BUCKET/PREFIX/", help="keys are PREFIX/ and the path in FOLDER")
    parser.add_argument("--jobs", type=_positive, default=32, metavar="N", help="files in flight (default 32)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
