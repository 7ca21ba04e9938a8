"""The wheel is built, installed into empty environments, and used there on a published run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fruits_features import __version__
from tests.support.documents import ROOT, blocks, script
from tests.support.published_runs import COLOURS, COUNTS, NAME, photo, publish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.dev.local_aws.local import LocalAws

UV = Path(sys.executable).with_name("uv")
GUIDE = Path("docs/guides/recognise.md")
IN_GUIDE = Path(".local/images/Test/Banana/3_100.jpg")
"""Photo of the guide and of the package's README."""

USE = """
import json, sys
from importlib.metadata import version
import fruits_features

fruits = fruits_features.open(sys.argv[1])
vectors, labels = fruits.matrix("Training")
print(json.dumps({
    "package": fruits_features.__file__,
    "version": version("fruits-features"),
    "recognised": fruits.recognise(sys.argv[2]),
    "nearest": [one.path for one in fruits.nearest(sys.argv[2], k=3)],
    "rows": len(fruits.features().collect()),
    "matrix": [*vectors.shape, len(labels)],
    "modules": sorted({name.partition(".")[0] for name in sys.modules} & {"airflow", "include", "pyspark"}),
}))
"""

TYPED = """
import numpy as np
import polars as pl
from numpy.typing import NDArray

import fruits_features

fruits = fruits_features.open("s3://fruits", as_of="2026-11-20")
guesses: list[tuple[str, float]] = fruits.recognise(b"", top=3)
path: str = fruits.nearest("photo.jpg", k=3)[0].path
rows: pl.LazyFrame = fruits.features()
vectors: NDArray[np.float32] = fruits.matrix("Training")[0]
"""
WRONG = """
fruits.recognise(3)
number: int = fruits.run
fruits.nearest("photo.jpg", number=3)
fruits.recogniser.category
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    installed = "--old-file=.venv/.development"  # the test runs in it, and must not change it
    _run(["make", installed, "wheel", f"DIST={folder}"], cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the extras that recognise photographs."""
    return _install(wheel, "[read,embed]", tmp_path_factory.mktemp("environments") / "full")


@pytest.fixture(scope="module")
def shop(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket with a published run."""
    bucket = local_aws.create_bucket("shop-of-the-wheel")
    publish(local_aws.s3(), bucket, tmp_path_factory.mktemp("run"))
    return f"s3://{bucket}"


@pytest.fixture
def folder(local_aws: LocalAws, tmp_path: Path) -> Path:
    """A folder with the photo and the address of the local AWS that documents name."""
    (tmp_path / IN_GUIDE).parent.mkdir(parents=True)
    (tmp_path / IN_GUIDE).write_bytes(photo("Lime"))
    (tmp_path / ".local" / "aws").symlink_to(local_aws.state.folder)
    return tmp_path


def _install(wheel: Path, extras: str, environment: Path) -> Path:
    """Install the wheel with the versions of the lock into a new environment, and return its folder of programs."""
    locks = [option for name in ("requirements.txt", "requirements-dev.txt") for option in ("-c", str(ROOT / name))]
    _run([UV, "venv", "--quiet", "--python", sys.executable, environment])
    python = environment / "bin" / "python"
    _run([UV, "pip", "install", "--quiet", "--no-verify-hashes", "--python", python, *locks, f"{wheel}{extras}"])
    return environment / "bin"


def _environment(local_aws: LocalAws, programs: Path) -> dict[str, str]:
    """Return variables of a user: nothing of this checkout, and credentials of the local AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_", "PYTHON"))}
    return {**kept, **local_aws.environment, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def _run(
    command: list[Any], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran


def test_wheel_in_an_empty_environment_reads_and_recognises(
    installed: Path, local_aws: LocalAws, shop: str, folder: Path
) -> None:
    (folder / "use.py").write_text(USE)

    ran = _run([installed / "python", "use.py", shop, IN_GUIDE], cwd=folder, env=_environment(local_aws, installed))

    result = json.loads(ran.stdout)
    assert Path(result["package"]).is_relative_to(installed.parent)
    assert result["version"] == __version__
    assert result["recognised"][0][0] == "Lime"
    assert all(path.startswith(f"{shop}/images/Training/Lime/") for path in result["nearest"])
    training = len(COLOURS) * COUNTS["Training"]
    assert result["rows"] == len(COLOURS) * sum(COUNTS.values())
    assert result["matrix"] == [training, 3, training]
    assert result["modules"] == []
    assert ran.stderr == ""


def test_commands_of_the_guide_run(installed: Path, local_aws: LocalAws, shop: str, folder: Path) -> None:
    commands = [block for block in blocks(GUIDE) if block.not_run == "tests/e2e/test_wheel.py runs it"]
    program = script(commands).replace("s3://fruits", shop)

    shown = _run(["bash", "-euc", program], cwd=folder, env=_environment(local_aws, installed)).stdout

    assert "Lime" in shown
    assert NAME in shown
    assert (folder / "report.html").exists()


def test_oldest_packages_that_the_wheel_allows_list_runs(
    wheel: Path, local_aws: LocalAws, shop: str, tmp_path: Path
) -> None:
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    python = tmp_path / "environment" / "bin" / "python"
    _run([UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "environment"])
    _run([UV, "pip", "install", "--quiet", "--resolution=lowest-direct", "--python", python, wheel, *allowed])

    runs = _run(["fruits", "runs", shop], cwd=tmp_path, env=_environment(local_aws, python.parent))

    assert runs.stdout.split()[-1] == NAME


def test_modules_of_the_wheel_import_no_module_that_it_lacks(
    installed: Path, local_aws: LocalAws, tmp_path: Path
) -> None:
    program = """
import importlib, pkgutil, fruits_features
for module in pkgutil.walk_packages(fruits_features.__path__, "fruits_features."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name.startswith("fruits_features"):
            print(module.name, error)
"""

    ran = _run([installed / "python", "-c", program], cwd=tmp_path, env=_environment(local_aws, installed))

    assert ran.stdout == ""


def test_types_are_visible_to_mypy(installed: Path, tmp_path: Path) -> None:
    check = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed / "python", "script.py"]
    environment = {name: value for name, value in os.environ.items() if name not in {"MYPYPATH", "PYTHONPATH"}}

    (tmp_path / "script.py").write_text(TYPED)
    _run(check, cwd=tmp_path, env=environment)
    (tmp_path / "script.py").write_text(TYPED + WRONG)
    reported = _run(check, cwd=tmp_path, env=environment, code=1).stdout

    assert reported.count("error:") == len(WRONG.splitlines()) - 1


def test_wheel_without_extras_lists_runs_and_names_the_extra(
    wheel: Path, local_aws: LocalAws, shop: str, folder: Path
) -> None:
    programs = _install(wheel, "", folder / "environment")
    environment = _environment(local_aws, programs)

    runs = _run(["fruits", "runs", shop], cwd=folder, env=environment)
    refused = _run(["fruits", "recognise", shop, IN_GUIDE], cwd=folder, env=environment, code=1)

    assert runs.stdout.split()[-1] == NAME
    assert refused.stderr == (
        "fruits: This needs cv2 and PIL, which the extra embed installs: pip install 'fruits-features[embed]'\n"
    )
