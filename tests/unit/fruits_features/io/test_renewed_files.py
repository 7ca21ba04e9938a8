"""Arrow's S3 while the credentials of a task are renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from botocore.credentials import ReadOnlyCredentials
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from fruits_features.io.renewed_files import renewed

if TYPE_CHECKING:
    from pathlib import Path

    from pyarrow.fs import FileSystem


class Keys:
    """Credentials whose keys a test changes."""

    def __init__(self) -> None:
        self.name = "first"

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials(self.name, "secret", "token")


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def connections() -> list[str]:
    return []


@pytest.fixture
def bucket(keys: Keys, connections: list[str], tmp_path: Path) -> FileSystem:
    """A bucket that shows to each key a folder of its own."""
    for name in ("first", "second"):
        (tmp_path / name / "features").mkdir(parents=True)
        pq.write_table(pa.table({"key": [name]}), tmp_path / name / "features" / "part-0.parquet")

    def connect(credentials: ReadOnlyCredentials) -> FileSystem:
        connections.append(credentials.access_key)
        return SubTreeFileSystem(str(tmp_path / credentials.access_key), LocalFileSystem())

    return renewed(keys, connect)  # type: ignore[arg-type]


def _read(bucket: FileSystem) -> list[str]:
    return ds.dataset("features", filesystem=bucket, format="parquet").to_table()["key"].to_pylist()


def test_reads_use_the_keys_that_are_valid_by_then(bucket: FileSystem, keys: Keys, connections: list[str]) -> None:
    assert _read(bucket) == ["first"]
    keys.name = "second"
    assert _read(bucket) == ["second"]
    assert pq.read_table(bucket.open_input_file("features/part-0.parquet"))["key"].to_pylist() == ["second"]
    assert connections == ["first", "second"]


def test_nothing_is_written(bucket: FileSystem) -> None:
    with pytest.raises(NotImplementedError, match="read-only"):
        bucket.open_output_stream("features/part-1.parquet")
    with pytest.raises(NotImplementedError, match="read-only"):
        bucket.delete_file("features/part-0.parquet")
