"""The version: one number in the package, which changelog, tag and wheel (tests/e2e/test_wheel.py) repeat."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from fruits_features import __version__

ROOT = Path(__file__).parents[2]


def test_changelog_begins_with_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## (.*)$", changelog, re.MULTILINE)[0]

    if __version__.endswith(".dev0"):
        assert newest == "[Unreleased]"
    else:
        assert re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", newest)


def test_tag_of_a_commit_is_its_version() -> None:
    command = ["git", "tag", "--points-at", "HEAD", "v*"]
    tags = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert {*tags.split()} <= {f"v{__version__}"}
