"""Reading rows of the cache's files, from a real S3 server and from a folder."""

import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fruits_features.cache import data_files
from fruits_features.cache.data_files import RowReader
from fruits_features.cache.store import StoredFile
from fruits_features.io import arrow, blocks, object_store
from tests.unit.fruits_features.conftest import FaultRule, FaultyBucket

ROWS = 4000


@pytest.fixture
def table() -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table({"etag": np.arange(ROWS), "noise": [random.bytes(1000) for _ in range(ROWS)]})


def reader_of(folder: str, table: pa.Table, numbers: list[int]) -> RowReader:
    """Write a table as two files of the cache, and return a reader of a row per number of a file."""
    data = arrow.to_parquet(table, 100)
    stored = blocks.of_parquet(data)
    files = [StoredFile(name, ROWS, len(data), table.nbytes, stored) for name in ("a.parquet", "b.parquet")]
    for file in files:
        object_store.write_bytes(folder, file.name, data)
    assert len(data) > data_files.FULL_READ_BYTES
    return RowReader(folder, files, Counter(numbers), table.column_names)


def read(folder: str, table: pa.Table, rows: list[int]) -> pa.Table:
    """Write a table as two files of the cache, and read some rows of the second file and the first."""
    numbers = [1, 0] * len(rows)
    return reader_of(folder, table, numbers).read(np.array(numbers, np.int32), np.repeat(rows, 2))


@pytest.mark.parametrize("share", [0.0, 2.0])
@pytest.mark.parametrize("least_run", [1, 1000])
def test_rows_are_read_in_the_given_order_from_complete_files_and_from_ranges(
    tmp_path: Path, table: pa.Table, share: float, least_run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "FULL_READ_SHARE", share)
    monkeypatch.setattr(data_files, "MIN_RUN_ROWS", least_run)

    found = read(str(tmp_path), table, [3999, 7, 8, 1234, 0])

    assert found == table.take([3999, 3999, 7, 7, 8, 8, 1234, 1234, 0, 0])


def test_few_rows_of_large_file_are_fetched_without_the_rest(
    tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read_range = object_store.Ranges.read
    monkeypatch.setattr(object_store, "read_bytes", None)
    monkeypatch.setattr(
        object_store.Ranges, "read", lambda *arguments: sizes.append(len(data := read_range(*arguments))) or data
    )

    assert read(str(tmp_path), table, [1234]).num_rows == 2
    assert sum(sizes) < 800_000


def test_many_rows_of_large_file_are_fetched_in_one_request(
    tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store.Ranges, "read", None)

    assert read(str(tmp_path), table, list(range(ROWS))).num_rows == 2 * ROWS


@pytest.mark.parametrize("share", [0.0, 2.0])
def test_file_is_in_memory_until_its_last_row_is_read(
    tmp_path: Path, table: pa.Table, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "FULL_READ_SHARE", share)
    files: list[weakref.ref[pq.ParquetFile]] = []
    open_file = RowReader._open  # noqa: SLF001 - the files are not visible from outside

    def record(reader: RowReader, number: int) -> pq.ParquetFile:
        file = open_file(reader, number)
        files.append(weakref.ref(file))
        return file

    monkeypatch.setattr(RowReader, "_open", record)
    reader = reader_of(str(tmp_path), table, [0, 0, 1, 1])
    in_memory = []
    for number, row in ((0, 5), (0, 6), (1, 5), (1, 6)):
        reader.read(np.array([number], np.int32), np.array([row]))
        in_memory.append([file() is not None for file in files])

    assert in_memory == [[True], [False], [False, True], [False, False]]


def test_rows_are_read_from_server_that_answers_ranges_without_status_206(
    faulty_bucket: Callable[[FaultRule], FaultyBucket], table: pa.Table
) -> None:
    bucket = faulty_bucket(lambda _: None)

    found = read(f"s3://{bucket.name}/store", table, [3999, 7])

    assert found == table.take([3999, 3999, 7, 7])
