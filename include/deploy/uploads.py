"""Upload of the application, its wheels and the network. Keys contain hashes, so nothing is uploaded twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from include.artifacts import bundle, shipped_model, wheelhouse
from include.deploy.model import build as model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mypy_boto3_s3 import S3Client

    from include.artifacts.wheelhouse import Platform

PREFIX = "artifacts/"
"""Prefix of the keys of application and wheels; `Settings.artifact_prefix` by default."""
WHEELS = Path(__file__).resolve().parents[2] / ".local" / "wheels"
"""Local cache of downloaded wheels."""


@dataclass(frozen=True)
class Upload:
    """One object to upload.

    Args:
        key: Key in the deployment's bucket.
        content: Bytes of the object, or the file that contains them.
    """

    key: str
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
        include.deploy.model.build.ModelError: The network cannot be built.
        include.artifacts.wheelhouse.WheelhouseError: Wheels cannot be downloaded.
    """
    variants = (False, True)
    house = wheelhouse.gather([bundle.lock(folder, onnx=onnx) for onnx in variants], platforms, wheels)
    artifacts = [artifact for onnx in variants for artifact in bundle.build(folder, onnx=onnx).values()]
    small = {artifact.name: artifact.content for artifact in artifacts}
    return [
        Upload(shipped_model.KEY, model.build(wheels)),
        *(Upload(PREFIX + name, content) for name, content in small.items()),
        *(Upload(PREFIX + wheel.name, wheel.path) for wheel in house.wheels),
        *(Upload(PREFIX + name, text.encode()) for name, text in house.lists.items()),
    ]


def missing(s3: S3Client, bucket: str, uploads: Sequence[Upload]) -> list[Upload]:
    """Return the objects that the bucket lacks, in the same order."""
    folders = {upload.key.partition("/")[0] for upload in uploads}
    present = {key for folder in folders for key in _keys(s3, bucket, f"{folder}/")}
    return [upload for upload in uploads if upload.key not in present]


def _keys(s3: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return (entry["Key"] for page in pages for entry in page.get("Contents", []))


def send(s3: S3Client, bucket: str, upload: Upload) -> None:
    """Upload one object."""
    if isinstance(upload.content, Path):
        s3.upload_file(str(upload.content), bucket, upload.key)
    else:
        s3.put_object(Bucket=bucket, Key=upload.key, Body=upload.content)
