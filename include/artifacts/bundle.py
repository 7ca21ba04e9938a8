"""The application's files for a cluster, named by content hash.

The names identify exactly what a run executed. A change does not affect a run in progress, and nothing is uploaded
twice. The caller uploads the files.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import fruits_features
from include.artifacts import wheelhouse

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Earliest time that a ZIP archive can store. Equal times make archives reproducible."""

NODES_CACHE_TAG = "cpython-311"
"""Cache tag of the nodes' Python, `include.emr.requests.PYTHON`."""

NOT_ON_CLUSTERS = frozenset({"client", "py.typed"})
"""Folders and files of the package that the application does not use. A change of them changes no artifact."""

INCLUDE = Path(__file__).parents[1]
VALIDATION_FILES = (
    "__init__.py",
    "draws.py",
    "intervals.py",
    "run_files.py",
    "validation_step.py",
    "report/__init__.py",
    "report/sample.py",
    "validation/*.py",
)
"""Modules of `include` that a cluster needs for the validation."""

BOOTSTRAP = Path(__file__).with_name("bootstrap.sh")


@dataclass(frozen=True)
class Artifact:
    """One file for S3.

    Args:
        name: Key below the artifacts' prefix.
        content: Bytes of the file.
    """

    name: str
    content: bytes


@dataclass(frozen=True)
class ArtifactUris:
    """The addresses of one run's artifacts (`s3://…`)."""

    application: str
    launcher: str
    bootstrap: str
    wheelhouse: str
    validation: str = ""
    validator: str = ""


def application_folder() -> Path:
    """Return `spark_apps/`, from which Python imports the application."""
    return Path(fruits_features.__file__).parent.parent


def build(folder: Path, *, onnx: bool = False) -> dict[str, Artifact]:
    """Return the small artifacts by role; the roles are fields of `ArtifactUris`.

    Args:
        folder: `spark_apps/`, with the package `fruits_features`, `launch.py`, `validate.py` and the requirements.
        onnx: Whether the cluster also needs the requirements of the feature family `onnx`.
    """
    return {
        "application": _packed(folder / "fruits_features"),
        "launcher": _named("launch", ".py", (folder / "launch.py").read_bytes()),
        "bootstrap": bootstrap(folder, onnx=onnx),
        "validation": _validation(),
        "validator": _named("validate", ".py", (folder / "validate.py").read_bytes()),
    }


def _validation() -> Artifact:
    """Return the modules of `include` that validate on a cluster, as an archive without bytecode."""
    found = (path for name in VALIDATION_FILES for path in sorted(INCLUDE.glob(name)))
    sources = {path.relative_to(INCLUDE.parent).as_posix(): path.read_bytes() for path in found}
    return _named("validation", ".zip", _zipped(sources))


def bootstrap(folder: Path, *, onnx: bool = False) -> Artifact:
    """Return the bootstrap script, which contains the requirements."""
    script = BOOTSTRAP.read_text().replace("@REQUIREMENTS@", lock(folder, onnx=onnx))
    return _named("bootstrap", ".sh", script.encode())


def lock(folder: Path, *, onnx: bool = False) -> str:
    """Return the requirements of the bootstrap script and the wheelhouse."""
    return (folder / ("requirements-onnx.txt" if onnx else "requirements.txt")).read_text().strip()


def wheelhouse_name(folder: Path, *, onnx: bool = False) -> str:
    """Return the name of the wheelhouse for `build`; `make deploy` uploads it once."""
    return wheelhouse.name_of(lock(folder, onnx=onnx))


def uris(artifacts: dict[str, Artifact], base: str, wheels: str) -> ArtifactUris:
    """Return the addresses of the artifacts.

    Args:
        artifacts: Artifacts by role, from `build`.
        base: Address of the folder that holds them (`s3://bucket/prefix/`).
        wheels: Address of the wheelhouse.
    """
    return ArtifactUris(**{role: base + artifact.name for role, artifact in artifacts.items()}, wheelhouse=wheels)


def _named(stem: str, suffix: str, content: bytes) -> Artifact:
    return Artifact(f"{stem}-{_digest(content)}{suffix}", content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _packed(package: Path) -> Artifact:
    """Return the package as a ZIP archive, named after its sources.

    Python does not cache bytecode for archives, so the archive contains it (docs/measurements/speed.md). Only the
    nodes' Python can compile it. Another Python takes the archive that `make mwaa` stores beside the package. If there
    is none, the archive contains no bytecode, and the nodes compile the sources.
    """
    files = sorted(path for path in package.rglob("*") if path.is_file() and _is_packed(path.relative_to(package)))
    sources = {path.relative_to(package.parent).as_posix(): path.read_bytes() for path in files}
    name = f"{package.name}-{_digest(_zipped(sources))}.zip"
    if sys.implementation.cache_tag == NODES_CACHE_TAG:
        return Artifact(name, _zipped(sources | _compiled(sources)))
    built = package.parent / name
    return Artifact(name, built.read_bytes() if built.exists() else _zipped(sources))


def _is_packed(name: Path) -> bool:
    return "__pycache__" not in name.parts and name.parts[0] not in NOT_ON_CLUSTERS


def _compiled(sources: dict[str, bytes]) -> dict[str, bytes]:
    """Return the bytecode of the modules by file name.

    A new process compiles them: the bytes depend on the strings that a process has in memory and on its hash seed.
    """
    with TemporaryDirectory() as folder:
        for name, content in sources.items():
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        # "unchecked-hash": the archive does not keep the times. "-b": beside the sources. "-s": relative names.
        options = ["-q", "-b", "--invalidation-mode", "unchecked-hash", "-s", folder, folder]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        subprocess.run(  # noqa: S603 - a fixed command
            [sys.executable, "-P", "-m", "compileall", *options], env=inherited | {"PYTHONHASHSEED": "0"}, check=True
        )
        modules = [name for name in sources if name.endswith(".py")]
        return {f"{module}c": Path(folder, f"{module}c").read_bytes() for module in modules}


def _zipped(files: dict[str, bytes]) -> bytes:
    """Return a ZIP archive; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, date_time=EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return buffer.getvalue()
