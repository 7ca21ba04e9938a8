"""Single bits are flipped in a run's results before they are validated: other rows never pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from fruits_features.io.checked_parquet import CHECKED_PARQUET
from tests.support.bit_flips import flip_bits
from tests.support.validation_runs import Run

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


def rows(folder: Path) -> pa.Table | None:
    """Return the rows that a reader gets; `None` if they cannot be read."""
    try:
        return ds.dataset(folder, format=CHECKED_PARQUET).to_table()
    except (OSError, ValueError, pa.ArrowException):
        return None


def is_equal(table: pa.Table | None, expected: pa.Table) -> bool:
    return table is not None and table.schema.equals(expected.schema) and table.equals(expected)


@pytest.mark.parametrize(
    ("name", "on_cluster"), [("features", False), ("quarantine", False), ("features", True), ("quarantine", True)]
)
def test_flip_in_the_results_fails_validation_or_changes_no_row(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch, *, on_cluster: bool
) -> None:
    monkeypatch.setattr(run, "on_cluster", on_cluster)
    folder = run.path(getattr(run.layout, name))
    path = min(folder.glob("*.parquet"))
    intact, expected = path.read_bytes(), rows(folder)
    assert expected is not None
    unreadable = 0

    for place, flipped in flip_bits(intact, FLIPS, seed=len(name)):
        path.write_bytes(flipped)
        table = rows(folder)
        unreadable += table is None
        if not is_equal(table, expected):
            assert run.validate().failed, place
    path.write_bytes(intact)

    assert unreadable > FLIPS / 3
    assert not run.validate().failed


def test_flip_in_the_projection_fails_validation_or_changes_no_number(run: Run) -> None:
    intact = run.projection.to_bytes()
    failed = 0

    for place, flipped in flip_bits(intact, FLIPS, seed=2):
        report = run.validate(stored=flipped)
        failed += bool(report.failed)
        assert report.failed or report.projection["version"] == run.projection.version, place

    assert failed == FLIPS
