"""The Python of a cluster's nodes."""

from __future__ import annotations

import subprocess
import sysconfig
from typing import TYPE_CHECKING

from include.dev.local_aws.node.python import NodePython

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_nodes_have_pip_and_pyspark_on_a_system_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install_as_debians_python(monkeypatch)

    with NodePython(tmp_path / "nodes", [b"script"]) as python:
        assert python.acquire()

    command = [python.executable, "-c", "import pip, pyspark; print(pip.__file__); print(pyspark.__file__)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert all(path.startswith(str(python.folder)) for path in found), found


def _install_as_debians_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install by default where Debian's /usr/bin/python3 does: into a folder that no virtual environment has."""
    schemes = sysconfig._INSTALL_SCHEMES  # type: ignore[attr-defined]  # noqa: SLF001
    local = {name: path.replace("site-packages", "dist-packages") for name, path in schemes["posix_prefix"].items()}
    monkeypatch.setitem(schemes, "posix_local", local | {"purelib": local["purelib"].replace("{base}", "{base}/local")})
    monkeypatch.setattr(sysconfig.get_path, "__defaults__", ("posix_local", None, True))
