"""The bootstrap script on a node whose programs only record their calls."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[4] / "include" / "artifacts" / "bootstrap.sh"
PYTHON = """#!/bin/sh
echo "python3.11 $*" >>"$NOTES"
case "$*" in
*ensurepip*) touch "$HAS_PIP" ;;
*) test -e "$HAS_PIP" || { echo 'No module named pip' >&2; exit 1; } ;;
esac
"""
NOTHING_INSTALLED = """#!/bin/sh
case "$*" in *--dry-run*) exit 1 ;; esac
echo "$*" >>"$NOTES"
"""
AWS = """#!/bin/sh
case "$4" in
*wheelhouse.txt) for name in first broken last; do echo "$(uname -m) wheels/$name.whl"; done >"$5" ;;
*broken.whl) echo 'cannot download broken.whl' >&2; exit 1 ;;
*) sleep 0.2; touch "$5" ;;
esac
"""


class Node:
    """A node on which all requirements are installed, with or without pip."""

    def __init__(self, folder: Path) -> None:
        self.notes, self.pip = folder / "notes", folder / "pip"
        self.folder = folder
        (folder / "python3.11").write_text(PYTHON)
        (folder / "sudo").write_text('#!/bin/sh\necho "sudo $*" >>"$NOTES"\nexec "$@"\n')
        for name in ("python3.11", "sudo"):
            (folder / name).chmod(0o755)

    def boot(self) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin", "NOTES": str(self.notes), "HAS_PIP": str(self.pip)}
        command = ["/bin/bash", str(SCRIPT), "s3://bucket/artifacts/wheelhouse.txt"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    def calls(self) -> list[str]:
        return self.notes.read_text().splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_node_without_pip_gets_the_one_that_comes_with_python(node: Node) -> None:
    done = node.boot()

    assert done.returncode == 0, done.stderr
    assert "sudo python3.11 -m ensurepip" in node.calls()
    assert "installed already" in done.stdout


def test_node_with_pip_keeps_it(node: Node) -> None:
    node.pip.touch()

    done = node.boot()

    assert done.returncode == 0, done.stderr
    assert not [line for line in node.calls() if "ensurepip" in line]


def test_failed_download_of_any_wheel_fails_the_node(node: Node) -> None:
    """The wheels are downloaded at once, so the failed one may end before the others."""
    node.pip.touch()
    (node.folder / "python3.11").write_text(NOTHING_INSTALLED)
    (node.folder / "aws").write_text(AWS)
    (node.folder / "aws").chmod(0o755)

    done = node.boot()

    assert done.returncode != 0
    assert "cannot download broken.whl" in done.stderr
    assert not [line for line in node.calls() if "--find-links" in line]
