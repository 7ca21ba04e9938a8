"""Complete files and ranges of them, verified by digests."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from fruits_features.io import arrow, blocks, object_store
from fruits_features.io.blocks import Block, DamagedFileError

TABLE = pa.table({"number": range(100), "text": [f"{number}" for number in range(100)]})
DATA = arrow.to_parquet(TABLE, 50)
BLOCKS = blocks.of_parquet(DATA)


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    object_store.write_bytes(str(tmp_path), "file", DATA)
    return str(tmp_path)


def damage(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, answers: int, change: Callable[[bytes], bytes]
) -> list[bytes]:
    """Change the first answers of a function, and return a list that all of them are added to."""
    seen: list[bytes] = []
    read = getattr(owner, name)

    def answer(*arguments: object) -> bytes:
        seen.append(read(*arguments))
        return change(seen[-1]) if len(seen) <= answers else seen[-1]

    monkeypatch.setattr(owner, name, answer)
    return seen


def test_answer_that_is_damaged_on_its_way_is_requested_again(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = damage(monkeypatch, object_store, "read_bytes", 1, flipped)

    assert blocks.read(folder, "file", BLOCKS) == DATA
    assert len(requested) == 2


@pytest.mark.parametrize("change", [flipped, lambda data: data[:-1], lambda data: data + b"1", lambda _: b""])
def test_file_with_other_bytes_than_were_written_raises(
    folder: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]
) -> None:
    damage(monkeypatch, object_store, "read_bytes", 2, change)

    with pytest.raises(DamagedFileError, match="file is damaged: its digest does not match its content"):
        blocks.read(folder, "file", BLOCKS)


def test_file_without_blocks_raises(folder: str) -> None:
    with pytest.raises(DamagedFileError):
        blocks.read(folder, "file", [])


def test_each_row_group_is_fetched_once(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = damage(monkeypatch, object_store.Ranges, "read", 0, flipped)
    parquet = blocks.open_parquet(folder, "file", BLOCKS)

    groups = [parquet.read_row_group(number) for number in range(2)]

    assert pa.concat_tables(groups) == TABLE
    first, second, footer = (DATA[start:end] for start, end in pairwise([0, *(block.end for block in BLOCKS)]))
    assert requested == [footer, first, second]


def test_range_that_is_damaged_on_its_way_is_requested_again(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(monkeypatch, object_store.Ranges, "read", 1, flipped)

    assert blocks.open_parquet(folder, "file", BLOCKS).read() == TABLE


def test_range_with_other_bytes_than_were_written_raises(folder: str) -> None:
    changed = [
        Block(block.end, block.digest[::-1] if number == 1 else block.digest) for number, block in enumerate(BLOCKS)
    ]
    parquet = blocks.open_parquet(folder, "file", changed)

    assert parquet.read_row_group(0) == TABLE.slice(0, 50)
    with pytest.raises(DamagedFileError, match=f"the digest of its bytes from {BLOCKS[0].end} on does not match"):
        parquet.read_row_group(1)


def test_file_that_disappears_while_its_ranges_are_read_raises(folder: str) -> None:
    parquet = blocks.open_parquet(folder, "file", BLOCKS)
    (Path(folder) / "file").unlink()

    with pytest.raises(DamagedFileError, match="file is damaged: it does not exist"):
        parquet.read_row_group(1)
