"""What clusters install and run, put into S3 under names that carry its content's hash: nothing is uploaded twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from include.artifacts import bundle, wheelhouse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mypy_boto3_s3 import S3Client

    from include.artifacts.wheelhouse import Platform

WHEELS = Path(__file__).resolve().parents[2] / ".local" / "wheels"
"""Where downloaded wheels stay."""


@dataclass(frozen=True)
class Upload:
    """One object to be."""

    name: str
    content: bytes | Path

    @property
    def size_bytes(self) -> int:
        """How large it is."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)


def build(folder: Path, platforms: Iterable[Platform], wheels: Path = WHEELS) -> list[Upload]:
    """All that a deployment holds, in the order of uploading: a list of wheels comes after the wheels it names.

    Args:
        folder: `spark_apps/`.
        platforms: the kinds of machine that are to be served.
        wheels: where downloaded wheels are kept.

    Raises:
        include.artifacts.wheelhouse.WheelhouseError: wheels cannot be had.
    """
    both = (False, True)
    house = wheelhouse.gather([bundle.lock(folder, onnx=onnx) for onnx in both], platforms, wheels)
    small = {one.name: one.content for onnx in both for one in bundle.build(folder, onnx=onnx).values()}
    return [
        *(Upload(name, content) for name, content in small.items()),
        *(Upload(wheel.name, wheel.path) for wheel in house.wheels),
        *(Upload(name, text.encode()) for name, text in house.lists.items()),
    ]


def missing(s3: S3Client, bucket: str, prefix: str, uploads: Sequence[Upload]) -> list[Upload]:
    """Those that the bucket does not have yet, in the same order."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    there = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
    return [upload for upload in uploads if prefix + upload.name not in there]


def send(s3: S3Client, bucket: str, prefix: str, upload: Upload) -> None:
    """Put one into the bucket."""
    if isinstance(upload.content, Path):
        s3.upload_file(str(upload.content), bucket, prefix + upload.name)
    else:
        s3.put_object(Bucket=bucket, Key=prefix + upload.name, Body=upload.content)
