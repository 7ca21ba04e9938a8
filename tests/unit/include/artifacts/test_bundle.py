import hashlib
import io
import os
import subprocess
import sys
import zipfile
from importlib import import_module
from importlib.util import module_from_spec
from pathlib import Path
from zipimport import zipimporter

import pytest

from include.artifacts import bundle, wheelhouse
from include.emr import requests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "spark_apps" / "fruits_features"
    (package / "families").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "families" / "orb.py").write_text("A = 1\n")
    (tmp_path / "spark_apps" / "launch.py").write_text("import fruits_features\n")
    (tmp_path / "spark_apps" / "validate.py").write_text("import include\n")
    (tmp_path / "spark_apps" / "requirements.txt").write_text("numpy==2.4.6 \\\n    --hash=sha256:00\n")
    return tmp_path / "spark_apps"


def test_build_names_artifacts_by_their_sources(folder: Path) -> None:
    before = bundle.build(folder)
    (folder / "fruits_features" / "families" / "orb.py").write_text("A = 2\n")

    after = bundle.build(folder)

    assert before["application"].name != after["application"].name
    assert before["launcher"].name == after["launcher"].name


def test_build_of_the_same_sources_gives_the_same_bytes(folder: Path) -> None:
    before = bundle.build(folder)
    os.utime(folder / "fruits_features" / "__init__.py", (0, 2_000_000_000))
    (folder / "fruits_features" / "__pycache__").mkdir()
    (folder / "fruits_features" / "__pycache__" / "orb.pyc").write_bytes(b"compiled")

    assert bundle.build(folder) == before


def test_archive_has_no_files_of_the_client(folder: Path) -> None:
    before = bundle.build(folder)["application"]
    (folder / "fruits_features" / "py.typed").touch()
    (folder / "fruits_features" / "client").mkdir()
    (folder / "fruits_features" / "client" / "cli.py").write_text("A = 1\n")

    assert bundle.build(folder)["application"] == before


@pytest.mark.parametrize("version", ["this", "another"])
def test_build_zips_the_package_so_that_every_python_imports_it(version: str, folder: Path, tmp_path: Path) -> None:
    built = zipfile.ZipFile(io.BytesIO(bundle.build(folder)["application"].content))
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        for name in built.namelist():
            content = built.read(name)
            is_foreign = version == "another" and name.endswith(".pyc")
            archive.writestr(name, b"\0\0\r\n" + content[4:] if is_foreign else content)

    sources = ["fruits_features/__init__.py", "fruits_features/families/orb.py"]
    assert built.namelist() == [*sources, *(f"{name}c" for name in sources)]
    importer = zipimporter(str(tmp_path / "app.zip/fruits_features/families"))

    module = module_from_spec(importer.find_spec("orb"))
    importer.exec_module(module)
    assert module.A == 1
    assert importer.get_source("orb") == "A = 1\n"
    was_compiled = not Path(importer.get_code("orb").co_filename).is_absolute()
    assert was_compiled == (version == "this")


def test_archive_has_the_same_bytes_in_every_process() -> None:
    """The bytecode that a process writes depends on the strings in its memory, and on the seed of its hashes."""
    script = (
        "import hashlib; from include.artifacts import bundle; "
        "print(hashlib.sha256(bundle.build(bundle.application_folder())['application'].content).hexdigest())"
    )
    fresh = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    import_module("fruits_features.job.run")
    built = bundle.build(bundle.application_folder())["application"]

    assert hashlib.sha256(built.content).hexdigest() == fresh.stdout.strip()


def _compiled(folder: Path) -> list[str]:
    archive = zipfile.ZipFile(io.BytesIO(bundle.build(folder)["application"].content))
    return [name for name in archive.namelist() if name.endswith(".pyc")]


def test_build_by_another_python_leaves_bytecode_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = bundle.build(folder)["application"].name
    monkeypatch.setattr(bundle, "NODES_CACHE_TAG", "cpython-399")

    assert _compiled(folder) == []
    assert bundle.build(folder)["application"].name == name


def test_build_by_another_python_takes_the_archive_of_the_same_sources(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = bundle.build(folder)["application"]
    (folder / built.name).write_bytes(built.content)
    monkeypatch.setattr(bundle, "NODES_CACHE_TAG", "cpython-399")

    assert bundle.build(folder)["application"] == built
    (folder / "fruits_features" / "families" / "orb.py").write_text("A = 2\n")
    assert _compiled(folder) == []


def test_bytecode_fits_the_interpreter_of_the_nodes() -> None:
    assert requests.PYTHON.removeprefix("python").replace(".", "") == bundle.NODES_CACHE_TAG.removeprefix("cpython-")


def test_build_puts_the_requirements_into_the_bootstrap_script(folder: Path) -> None:
    script = bundle.build(folder)["bootstrap"].content.decode()

    assert "numpy==2.4.6 \\\n    --hash=sha256:00\nREQUIREMENTS\n" in script
    assert "@REQUIREMENTS@" not in script


def test_build_for_a_model_puts_its_requirements_into_another_bootstrap_script(folder: Path) -> None:
    (folder / "requirements-onnx.txt").write_text("onnxruntime==1.31.1 \\\n    --hash=sha256:01\n")

    built, plain = bundle.build(folder, onnx=True), bundle.build(folder)

    assert "onnxruntime==1.31.1" in built["bootstrap"].content.decode()
    assert built["bootstrap"].name != plain["bootstrap"].name
    assert built["application"] == plain["application"]


def test_wheelhouse_is_named_after_the_requirements_in_the_bootstrap_script(folder: Path) -> None:
    before = bundle.wheelhouse_name(folder)
    (folder / "requirements.txt").write_text("numpy==2.4.7 \\\n    --hash=sha256:00\n")

    assert bundle.wheelhouse_name(folder) == wheelhouse.name_of(bundle.lock(folder)) != before
    assert bundle.lock(folder) in bundle.build(folder)["bootstrap"].content.decode()


def test_uris_are_below_the_base(folder: Path) -> None:
    built = bundle.build(folder)

    uris = bundle.uris(built, "s3://b/a/", "s3://c/w.txt")

    assert uris.application == f"s3://b/a/{built['application'].name}"
    assert uris.wheelhouse == "s3://c/w.txt"


def test_archive_of_the_validation_imports_without_the_checkout(tmp_path: Path) -> None:
    built = bundle.build(bundle.application_folder())
    paths = [tmp_path / built[role].name for role in ("application", "validation")]
    for role, path in zip(("application", "validation"), paths, strict=True):
        path.write_bytes(built[role].content)
    unwanted = ["airflow", "boto3", "pandas", "polars", "pydantic"]
    program = (
        "import sys, include.validation_step as step; print(step.__file__)\n"
        f"print([name for name in {unwanted} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}

    result = subprocess.run([sys.executable, "-P", "-c", program], env=environment, capture_output=True, check=True)

    assert result.stdout.decode().splitlines() == [f"{paths[1]}/include/validation_step.py", "[]"]
