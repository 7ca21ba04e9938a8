"""List the objects below a prefix, several folders concurrently, in S3's order of keys.

S3 returns 1,000 objects per response, and the responses of one listing are sequential. Different folders can be listed
concurrently. S3 sorts keys by their UTF-8 bytes, so that the objects of a folder are contiguous. The listings of the
folders, concatenated in order, are therefore the listing of the prefix.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from include.inventory.writer import LISTING_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_s3 import S3Client

    Objects = Sequence[Mapping[str, Any]]

MAX_CONCURRENT_FOLDERS = 10
"""Folders listed concurrently: the number of connections that a botocore client keeps."""

MAX_PAGES_AHEAD = 50
"""Responses of one folder that are fetched before its turn, to limit memory. The others are fetched in its turn."""

MAX_ENTRIES = 5_000
"""Objects and folders directly in a folder. A folder with more is not divided further."""


@dataclass(frozen=True)
class _Folder:
    prefix: str
    divisible: bool = True


def list_objects(s3: S3Client, bucket: str, prefix: str) -> Iterator[pa.RecordBatch]:
    """Yield all objects below a prefix, sorted by the UTF-8 bytes of their keys.

    Yields:
        Rows of the schema `include.inventory.writer.LISTING_SCHEMA`.
    """
    running: deque[Future[tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]]] = deque()
    with ThreadPoolExecutor(MAX_CONCURRENT_FOLDERS) as pool:
        for piece in _divide(s3, bucket, prefix):
            running.append(pool.submit(_list_ahead, s3, bucket, piece))
            if len(running) == MAX_CONCURRENT_FOLDERS:
                yield from chain(*running.popleft().result())
        for listed in running:
            yield from chain(*listed.result())


def _list_ahead(
    s3: S3Client, bucket: str, piece: _Folder | Objects
) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]:
    """Return the first `MAX_PAGES_AHEAD` pages of a folder, and an iterator over the others."""
    if not isinstance(piece, _Folder):
        return [as_batch(piece)], iter(())
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=piece.prefix)
    batches = (as_batch(page.get("Contents", [])) for page in pages)
    return list(islice(batches, MAX_PAGES_AHEAD)), batches


def as_batch(objects: Objects) -> pa.RecordBatch:
    """Return entries of a response as rows of the schema `include.inventory.writer.LISTING_SCHEMA`."""
    columns = {
        "key": [entry["Key"] for entry in objects],
        "size": [entry["Size"] for entry in objects],
        "etag": [entry["ETag"].strip('"') for entry in objects],
        "last_modified": [entry["LastModified"] for entry in objects],
    }
    return pa.RecordBatch.from_pydict(columns, LISTING_SCHEMA)


def _divide(s3: S3Client, bucket: str, prefix: str) -> list[_Folder | Objects]:
    """Split a prefix, level by level, into enough folders to list concurrently and the objects between them.

    Returns:
        Folders and groups of objects in S3's order of keys.
    """
    pieces: list[_Folder | Objects] = [_Folder(prefix)]
    while True:
        folders = [piece for piece in pieces if isinstance(piece, _Folder)]
        if len(folders) >= MAX_CONCURRENT_FOLDERS or not any(folder.divisible for folder in folders):
            return pieces
        pieces = [child for piece in pieces for child in _children(s3, bucket, piece)]


def _children(s3: S3Client, bucket: str, piece: _Folder | Objects) -> list[_Folder | Objects]:
    """Return the folders directly in a folder and the objects between them, or the folder if it has too many."""
    if not isinstance(piece, _Folder) or not piece.divisible:
        return [piece]
    entries: list[tuple[str, Mapping[str, Any] | None]] = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=piece.prefix, Delimiter="/"):
        entries += [(folder["Prefix"], None) for folder in page.get("CommonPrefixes", [])]
        entries += [(content["Key"], content) for content in page.get("Contents", [])]
        if len(entries) > MAX_ENTRIES:
            return [replace(piece, divisible=False)]
    entries.sort(key=lambda entry: entry[0].encode())
    pieces: list[_Folder | Objects] = []
    for are_objects, group in groupby(entries, key=lambda entry: entry[1] is not None):
        if are_objects:
            pieces.append([content for _, content in group if content])
        else:
            pieces += [_Folder(name) for name, _ in group]
    return pieces
