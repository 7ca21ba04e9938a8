"""Each error ends the application with one sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pyarrow as pa
import pytest

from fruits_features import __main__
from fruits_features.contract.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

PLACES = ["--bucket=fruits", "--run=r"]


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the application, and return the last line of stderr."""
    assert __main__.main([*PLACES, *arguments]) == 1
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RunError("No images."), "No images."),
        (FileNotFoundError("s3://fruits/a"), "FileNotFoundError: s3://fruits/a"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero (unexpected; the log contains"),
        (pa.ArrowInvalid("s3://fruits/a\nand more"), "ArrowInvalid: s3://fruits/a (unexpected; the log contains the"),
        (KeyError(), "KeyError: no message (unexpected; the log contains the traceback)"),
    ],
)
def test_any_error_ends_with_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    monkeypatch.setattr(__main__, "_run", Mock(side_effect=error))

    assert fail(capsys, "--inventory=/i", "--output=/o").startswith(f"fruits_features: error: {line}")


@pytest.mark.parametrize("content", [b"", b"no Parquet", b"PAR1" * 100])
def test_damaged_inventory_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    from fruits_features.job import run

    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "part-00000.parquet").write_bytes(content)
    monkeypatch.setattr(__main__, "_run", lambda arguments: run.run(Mock(), arguments))

    line = fail(capsys, f"--inventory={tmp_path}/inventory", f"--output={tmp_path}")

    name = re.escape(f"{tmp_path}/inventory/part-00000.parquet")
    assert re.fullmatch(rf"fruits_features: error: {name} is damaged: .*; take the inventory again\.", line)
