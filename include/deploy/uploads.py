"""Upload of the files that clusters install and run. Names contain hashes, so nothing is uploaded twice."""

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
"""Local cache of downloaded wheels."""


@dataclass(frozen=True)
class Upload:
    """One object to upload.

    Args:
        name: Key below the artifacts' prefix.
        content: Bytes of the object, or the file that contains them.
    """

    name: str
    content: bytes | Path

    @property
    def size_bytes(self) -> int:
        """Size of the object in bytes."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)


def build(folder: Path, platforms: Iterable[Platform], wheels: Path = WHEELS) -> list[Upload]:
    """Return the objects of a deployment in upload order, a list of wheels after the wheels that it names.

    Args:
        folder: `spark_apps/`.
        platforms: Types of the clusters' machines.
        wheels: Local cache of downloaded wheels.

    Raises:
        include.artifacts.wheelhouse.WheelhouseError: Wheels cannot be downloaded.
    """
    variants = (False, True)
    house = wheelhouse.gather([bundle.lock(folder, onnx=onnx) for onnx in variants], platforms, wheels)
    artifacts = [artifact for onnx in variants for artifact in bundle.build(folder, onnx=onnx).values()]
    small = {artifact.name: artifact.content for artifact in artifacts}
    return [
        *(Upload(name, content) for name, content in small.items()),
        *(Upload(wheel.name, wheel.path) for wheel in house.wheels),
        *(Upload(name, text.encode()) for name, text in house.lists.items()),
    ]


def missing(s3: S3Client, bucket: str, prefix: str, uploads: Sequence[Upload]) -> list[Upload]:
    """Return the objects that the bucket lacks, in the same order."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    present = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
    return [upload for upload in uploads if prefix + upload.name not in present]


def send(s3: S3Client, bucket: str, prefix: str, upload: Upload) -> None:
    """Upload one object."""
    if isinstance(upload.content, Path):
        s3.upload_file(str(upload.content), bucket, prefix + upload.name)
    else:
        s3.put_object(Bucket=bucket, Key=prefix + upload.name, Body=upload.content)
