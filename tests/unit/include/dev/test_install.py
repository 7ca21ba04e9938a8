"""Progress of an installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.dev import install

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

REQUIREMENTS = """\
# a comment == that is no package
a==1.0 \\
    --hash=sha256:00
b[extra]==2.0 ; python_version < "4" \\
    --hash=sha256:00
"""


def _pip(folder: Path, script: str) -> Path:
    """Write a substitute for the interpreter of the environment."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_installation_shows_size_duration_and_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "REPORT_EVERY_S", 0.0)
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    script = "echo 'Collecting a==1.0'; echo 'Collecting b==2.0'; echo 'Installing collected packages: a, b'"

    assert install.install(_pip(tmp_path, script), tmp_path / "requirements.txt") == 0

    first, *progress = capsys.readouterr().out.splitlines()
    assert first.startswith("Installing the 2 packages of requirements.txt into .venv. About ")
    assert "GB" in first
    assert "minutes" in first
    assert [line.partition(" s  ")[2] for line in progress] == [
        "1 of 2 packages downloaded",
        "2 of 2 packages downloaded",
        "all packages downloaded, unpacking them",
    ]


def test_failed_installation_returns_the_exit_code_of_pip(tmp_path: Path) -> None:
    (tmp_path / "requirements-dev.txt").write_text(REQUIREMENTS)

    assert install.install(_pip(tmp_path, "exit 7"), tmp_path / "requirements-dev.txt") == 7


def test_environment_without_pip_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    _pip(commands, "exit 1")  # written before pip, by a `venv.create` that was interrupted or failed
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install.venv, "create", lambda folder, **_: (folder / "bin" / "pip").touch())
    monkeypatch.setattr(install, "install", lambda python, _: 0 if python.with_name("pip").exists() else 1)

    assert install.main(["requirements.txt"]) == 0


def test_interrupted_installation_can_be_continued(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "install", interrupted)

    assert install.main(["requirements.txt"]) == 130
    assert capsys.readouterr().err == "Interrupted. Run the command again to continue.\n"
