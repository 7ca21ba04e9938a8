import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from include.dev import prerequisites


@pytest.fixture(autouse=True)
def _no_java_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)


def _java(folder: Path, answer: str) -> None:
    folder.mkdir(exist_ok=True)
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho '{answer}' >&2\n")
    java.chmod(0o755)


def test_missing_java_names_the_package_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    problem = prerequisites.java_problem()

    assert problem
    assert "Java 17 or newer is needed" in problem
    assert "openjdk-17" in problem


@pytest.mark.parametrize(
    ("answer", "fine"),
    [
        ('openjdk version "17.0.15" 2025-04-15', True),
        ('openjdk version "21" 2023-09-19', True),
        ('java version "1.8.0_401"', False),
        ('openjdk version "11.0.2" 2019-01-15', False),
        ("nothing of the kind", False),
    ],
)
def test_java_is_accepted_by_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, *, fine: bool
) -> None:
    _java(tmp_path, answer)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")

    assert (prerequisites.java_problem() is None) == fine


@pytest.mark.parametrize(
    ("on_path", "in_home", "problem"),
    [
        ("17.0.15", "1.8.0_401", "is 8; install a newer JDK"),
        ("1.8.0_401", "17.0.15", None),
        ("17.0.15", None, "which has no bin/java"),
    ],
)
def test_java_home_is_checked_as_spark_prefers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: str, in_home: str | None, problem: str | None
) -> None:
    _java(tmp_path, f'java version "{on_path}"')
    if in_home:
        _java(tmp_path / "bin", f'java version "{in_home}"')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

    found = prerequisites.java_problem()

    assert (found is None) if problem is None else problem in str(found)


@pytest.mark.parametrize("folder", ["fruits", "the fruits of été"])
def test_checkout_that_was_moved_is_named(tmp_path: Path, folder: str) -> None:
    venv.create(tmp_path / folder / ".venv", with_pip=True)
    assert prerequisites.environment_problem(tmp_path / folder) is None

    (tmp_path / folder).rename(tmp_path / "moved")

    problem = prerequisites.environment_problem(tmp_path / "moved")
    assert problem
    assert f"start {tmp_path / folder / '.venv' / 'bin' / 'python'}" in problem
    assert f"Was {tmp_path / 'moved'} moved?" in problem
    assert prerequisites.environment_problem(tmp_path / "none") is None


def test_too_little_space_names_folder_and_figures(tmp_path: Path) -> None:
    problem = prerequisites.space_problem(tmp_path, 1e9)

    assert problem
    assert str(tmp_path) in problem
    assert "1000000000.0 GB" in problem
    assert prerequisites.space_problem(tmp_path, 0) is None


def test_command_prints_one_line_per_problem_and_fails(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, str(Path(prerequisites.__file__)), "--java"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 1
    assert len(checked.stderr.splitlines()) == 1


@pytest.mark.parametrize("folder", ["", ".venv", ".local"])
def test_folder_that_cannot_be_written_is_named(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write to a folder of any mode, so the answer of the system is replaced."""
    (tmp_path / folder).mkdir(exist_ok=True)
    assert prerequisites.permission_problem(tmp_path) is None
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path / folder)

    problem = prerequisites.permission_problem(tmp_path)

    assert problem
    assert problem.startswith(f"This user cannot write to {tmp_path / folder}; change its owner")
