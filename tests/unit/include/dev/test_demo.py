"""The photo that `make demo` recognises at its end."""

from __future__ import annotations

import re
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
