"""The commands that `make demo` starts, and the photo that it recognises at its end."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from include.dev import demo
from tests.support.published_runs import photo, publish

if TYPE_CHECKING:
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws


def test_photo_is_recognised_with_its_probability(
    local_aws: LocalAws, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(local_aws.s3(), bucket, tmp_path / "run")
    monkeypatch.setattr(demo, "DEFAULT_BUCKET", bucket)
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    (tmp_path / "plum.png").write_bytes(photo("Plum"))
    (tmp_path / "text.png").write_text("no image")
    environment = local_aws.process_environment

    shown = demo._recognise(tmp_path / "plum.png", environment)  # noqa: SLF001

    assert re.fullmatch(r"plum\.png: Plum \([01]\.\d\d\)", shown)
    with pytest.raises(demo.DemoError, match=r"^fruits: .*text\.png: decode: not_an_image: .*$"):
        demo._recognise(tmp_path / "text.png", environment)  # noqa: SLF001


def test_interruption_that_finds_the_command_ended_is_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted_after_the_end(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        monkeypatch.undo()
        process.wait(timeout)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted_after_the_end)

    with pytest.raises(KeyboardInterrupt):
        demo._command("json.tool", "--help", environment=dict(os.environ))  # noqa: SLF001


def test_ctrl_c_does_not_reach_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would print their own tracebacks. The demo ends them."""
    (tmp_path / "whose.py").write_text("import os, pathlib; pathlib.Path('group').write_text(str(os.getpgrp()))")
    monkeypatch.chdir(tmp_path)

    demo._command("whose", environment=os.environ | {"PYTHONPATH": str(tmp_path)})  # noqa: SLF001

    assert int((tmp_path / "group").read_text()) != os.getpgrp()
