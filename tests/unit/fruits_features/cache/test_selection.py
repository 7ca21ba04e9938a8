"""Selections of rows of the cache's files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fruits_features.cache import selection
from fruits_features.cache.selection import Selection
from fruits_features.cache.store import StoredFile
from fruits_features.io import arrow, blocks, object_store
from fruits_features.io.blocks import DamagedFileError

ROWS = 100


@pytest.fixture
def table() -> pa.Table:
    return pa.table({"etag": [f"{number}" for number in range(ROWS)], "noise": np.arange(ROWS)})


def store(folder: Path, name: str, table: pa.Table) -> StoredFile:
    data = arrow.to_parquet(table, ROWS)
    object_store.write_bytes(str(folder), name, data)
    return StoredFile(name, ROWS, len(data), 1000 * ROWS, blocks.of_parquet(data))


def test_rows_are_read_in_tables_of_bounded_size(
    tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "TABLE_BYTES", 10_000)
    rows = pa.table({"etag": table["etag"], "file": np.zeros(ROWS, np.int32), "row": np.arange(ROWS)})

    tables = list(Selection.of(rows, [store(tmp_path, "a.parquet", table)]).read(str(tmp_path), ["noise"]))

    assert max(part.num_rows for part in tables) <= 11
    assert pa.concat_tables(tables)["noise"].to_pylist() == table["noise"].to_pylist()


def test_file_with_other_rows_than_its_index_lists_is_named(tmp_path: Path, table: pa.Table) -> None:
    files = [store(tmp_path, name, table) for name in ("a.parquet", "b.parquet")]
    rows = pa.table({"etag": ["3", "4"], "file": np.array([0, 1], np.int32), "row": [3, 5]})

    with pytest.raises(DamagedFileError, match=r"b\.parquet is damaged: it contains other rows"):
        list(Selection.of(rows, files).read(str(tmp_path), ["noise"]))
