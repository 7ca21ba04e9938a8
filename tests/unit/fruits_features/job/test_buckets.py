"""Rows of a large run in buckets: complete, in order, and no larger than their rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from fruits_features.io import staging
from fruits_features.io.staging import Staging
from fruits_features.job.buckets import put_pieces

ROWS = 5_000


def test_each_piece_has_the_rows_of_its_number_in_order_and_no_bytes_of_others(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, 20, ROWS)
    numbers[numbers == 3] = 4
    rows = pa.table({"row": np.arange(ROWS), "key": [f"key {row}" for row in range(ROWS)]})
    pieces = put_pieces(rows, numbers, Staging(tmp_path.as_uri()))
    assert sorted(pieces) == [number for number in range(20) if number != 3]
    for number, piece in pieces.items():
        assert staging.read(piece).equals(rows.filter(pa.array(numbers == number)))
    assert all(file.stat().st_size < rows.nbytes / 5 for file in tmp_path.iterdir())


def test_no_rows_have_no_pieces(tmp_path: Path) -> None:
    assert (
        put_pieces(pa.table({"key": pa.array([], pa.string())}), np.array([], np.int64), Staging(str(tmp_path))) == {}
    )
