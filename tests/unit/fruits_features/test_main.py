"""Each error ends the application with one sentence."""

from __future__ import annotations

import re
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import Mock

import obstore
import pyarrow as pa
import pytest

from fruits_features import __main__
from fruits_features.contract.errors import RunError
from fruits_features.io.fetcher import IMAGE_RETRIES
from fruits_features.io.object_store import open_bucket

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


def test_images_are_requested_in_the_region_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from fruits_features.job import run

    urls = list[str]()

    def sign(*_: object) -> None:
        urls.append(obstore.sign(open_bucket("fruits", IMAGE_RETRIES), "GET", "1.jpg", timedelta(minutes=1)))

    for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "us-east-1")
    monkeypatch.setattr(__main__, "running_context", lambda *_: nullcontext())
    monkeypatch.setattr(run, "run", sign)

    assert __main__.main([*PLACES, "--inventory=/i", "--output=/o", "--region=eu-north-1"]) == 0
    assert "%2Feu-north-1%2Fs3%2F" in urls[0]
