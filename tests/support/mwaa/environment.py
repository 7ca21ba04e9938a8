"""A Python environment with the packages of Amazon MWAA's image, and with what its `requirements.txt` adds.

It lies below `.local/mwaa` under the hash of all that it is made from, so that a second run finds it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ENVIRONMENTS = Path(__file__).parents[3] / ".local" / "mwaa"
CONSTRAINTS = Path(__file__).with_name("airflow-3.3.1.txt")
PYTHON = "3.12"
UV = str(Path(sys.executable).with_name("uv"))

IMAGE = (
    "apache-airflow[celery,statsd]==3.3.1",
    "apache-airflow-core[gunicorn]==3.3.1",
    "apache-airflow-providers-amazon[aiobotocore]",
    "apache-airflow-providers-fab",
    "apache-airflow-providers-postgres",
    "apache-airflow-providers-standard",
    "celery[sqs]",
    "fluent-logger",
    "virtualenv",
    "watchtower",
)
"""Packages that the image installs (`bootstrap/02-airflow` of the constraints' source).

psycopg2 and pycurl, which have to be compiled, and type stubs are left out: our code does not import them."""


@dataclass(frozen=True)
class MwaaEnvironment:
    """One environment.

    Args:
        python: its interpreter.
        image: versions by name of what the image brings.
        installed: versions by name after the installation of `requirements.txt`.
    """

    python: Path
    image: dict[str, str]
    installed: dict[str, str]


def versions(text: str) -> dict[str, str]:
    """Read lines such as `name==version`; other lines count for nothing.

    >>> versions("# source\\nSQLAlchemy_Utils==0.42.1\\n")
    {'sqlalchemy-utils': '0.42.1'}
    """
    found = re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def mwaa_environment(requirements: Path) -> MwaaEnvironment:
    """Return the environment of a `requirements.txt`; make it if it is not there."""
    python = _python()
    parts = (*IMAGE, CONSTRAINTS.read_text(), requirements.read_text(), str(python))
    folder = ENVIRONMENTS / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    image, installed = folder / "image.txt", folder / "installed.txt"
    if not installed.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--python", str(python), str(folder))
        _install(folder, *IMAGE)
        image.write_text(_freeze(folder))
        _install(folder, "--requirement", str(requirements))
        _uv("pip", "check", "--python", str(folder))
        installed.write_text(_freeze(folder))
    return MwaaEnvironment(folder / "bin" / "python", versions(image.read_text()), versions(installed.read_text()))


def _python() -> Path:
    """Find a Python of MWAA's version: on the path, or among pyenv's.

    A shim of pyenv is on the path even where it names no version, so that each is asked.
    """
    on_path = [Path(folder) / f"python{PYTHON}" for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [*on_path, *sorted(pyenv.glob(f"versions/{PYTHON}.*/bin/python{PYTHON}"), reverse=True)]
    for candidate in filter(Path.exists, candidates):
        asked = subprocess.run([candidate, "-c", "print()"], capture_output=True, check=False)
        if asked.returncode == 0:
            return candidate
    pytest.skip(f"There is no Python {PYTHON} on the path or among pyenv's: install one to test MWAA's packages.")


def _install(folder: Path, *what: str) -> None:
    """Install under the image's constraints, as MWAA does where `requirements.txt` names none."""
    _uv("pip", "install", "--python", str(folder), "--constraint", str(CONSTRAINTS), *what)


def _freeze(folder: Path) -> str:
    return _uv("pip", "freeze", "--python", str(folder))


def _uv(*arguments: str) -> str:
    ran = subprocess.run([UV, "--quiet", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"uv {' '.join(arguments)}\n{ran.stderr[-3000:]}"
    return ran.stdout
