"""Listing what lies below a prefix: folder by folder, several folders at once, in S3's own order of keys.

S3 lists 1,000 objects an answer, one answer after the other; different folders can be asked for at once. In S3's order
(by the UTF-8 bytes of the keys) all that lies in a folder stands together, so that listings of folders, put one behind
the other, are the listing of the whole.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from botocore.utils import parse_timestamp

from include.inventory.writer import LISTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import boto3
    from mypy_boto3_s3 import S3Client

    Objects = Sequence[Mapping[str, Any]]

FOLDERS_AT_ONCE = 10
"""As many connections as botocore's clients keep."""

PAGES_AHEAD = 50
"""Answers of one folder that are fetched before it is its turn; what is beyond, then. Bounds the memory."""

MAX_ENTRIES = 5_000
"""A folder with more objects and folders right in it is listed as a whole."""


def read_times_quickly(session: boto3.Session) -> None:
    """Let the clients that a session makes from now on read times as listings have them, in ISO 8601.

    botocore reads times in any form, and with that spends two thirds of a listing's processor time (230 instead of
    80 microseconds an object, measured).
    """
    inner = session._session  # noqa: SLF001 - boto3 has no other way to what botocore lets callers set
    inner.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # in a header
        return parse_timestamp(text)


@dataclass(frozen=True)
class _Folder:
    prefix: str
    divisible: bool = True


def list_objects(s3: S3Client, bucket: str, prefix: str) -> Iterator[pa.RecordBatch]:
    """Yield every object below a prefix, as rows of `include.inventory.writer.LISTED`, sorted by the keys' UTF-8 bytes."""
    running: deque[Future[tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]]] = deque()
    with ThreadPoolExecutor(FOLDERS_AT_ONCE) as pool:
        for piece in _divide(s3, bucket, prefix):
            running.append(pool.submit(_begin, s3, bucket, piece))
            if len(running) == FOLDERS_AT_ONCE:
                yield from chain(*running.popleft().result())
        for begun in running:
            yield from chain(*begun.result())


def _begin(
    s3: S3Client, bucket: str, piece: _Folder | Objects
) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]:
    """List a folder as far as it may be listed ahead; the rest is listed when it is asked for."""
    if not isinstance(piece, _Folder):
        return [_as_batch(piece)], iter(())
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=piece.prefix)
    batches = (_as_batch(page.get("Contents", [])) for page in pages)
    return list(islice(batches, PAGES_AHEAD)), batches


def _as_batch(objects: Objects) -> pa.RecordBatch:
    columns = {
        "key": [one["Key"] for one in objects],
        "size": [one["Size"] for one in objects],
        "etag": [one["ETag"].strip('"') for one in objects],
        "last_modified": [one["LastModified"] for one in objects],
    }
    return pa.RecordBatch.from_pydict(columns, LISTED)


def _divide(s3: S3Client, bucket: str, prefix: str) -> list[_Folder | Objects]:
    """Find, level by level, enough folders to list at once, and the objects between them, in S3's order."""
    pieces: list[_Folder | Objects] = [_Folder(prefix)]
    while True:
        folders = [piece for piece in pieces if isinstance(piece, _Folder)]
        if len(folders) >= FOLDERS_AT_ONCE or not any(folder.divisible for folder in folders):
            return pieces
        pieces = [inner for piece in pieces for inner in _open(s3, bucket, piece)]


def _open(s3: S3Client, bucket: str, piece: _Folder | Objects) -> list[_Folder | Objects]:
    """See what lies right in a folder: folders, and objects between them; the folder itself, when that is too much."""
    if not isinstance(piece, _Folder) or not piece.divisible:
        return [piece]
    found: list[tuple[str, Mapping[str, Any] | None]] = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=piece.prefix, Delimiter="/"):
        found += [(folder["Prefix"], None) for folder in page.get("CommonPrefixes", [])]
        found += [(listed["Key"], listed) for listed in page.get("Contents", [])]
        if len(found) > MAX_ENTRIES:
            return [replace(piece, divisible=False)]
    found.sort(key=lambda one: one[0].encode())
    pieces: list[_Folder | Objects] = []
    for of_objects, group in groupby(found, key=lambda one: one[1] is not None):
        if of_objects:
            pieces.append([listed for _, listed in group if listed])
        else:
            pieces += [_Folder(name) for name, _ in group]
    return pieces
