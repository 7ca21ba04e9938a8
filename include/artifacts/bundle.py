"""What a cluster needs of this project, as files whose names carry the hash of what they are made of.

A run names exactly what it ran, a change never disturbs a run under way, and nothing is uploaded twice. Uploading is
left to the caller.
"""

from __future__ import annotations

import hashlib
import io
import py_compile
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

BOOTSTRAP = Path(__file__).with_name("bootstrap.sh")


@dataclass(frozen=True)
class Artifact:
    """One file to be put in S3 under `name`."""

    name: str
    content: bytes


@dataclass(frozen=True)
class ArtifactUris:
    """Where the artifacts of one run lie (`s3://…`)."""

    application: str
    launcher: str
    bootstrap: str
    wheelhouse: str


def application_folder() -> Path:
    """`spark_apps/`, wherever Python finds the application."""
    return Path(fruits_features.__file__).parent.parent


def build(folder: Path, *, onnx: bool = False) -> dict[str, Artifact]:
    """Return the small artifacts by role; the roles are fields of `ArtifactUris`.

    Args:
        folder: `spark_apps/`: the package `fruits_features`, `launch.py` and the locked requirements.
        onnx: whether the cluster needs what the family `onnx` does, too.
    """
    requirements = lock(folder, onnx=onnx)
    return {
        "application": _packed(folder / "fruits_features"),
        "launcher": _named("launch", ".py", (folder / "launch.py").read_bytes()),
        "bootstrap": _named("bootstrap", ".sh", BOOTSTRAP.read_text().replace("@REQUIREMENTS@", requirements).encode()),
    }


def lock(folder: Path, *, onnx: bool = False) -> str:
    """Return the requirements of the bootstrap script and the wheelhouse."""
    return (folder / ("requirements-onnx.txt" if onnx else "requirements.txt")).read_text().strip()


def wheelhouse_name(folder: Path, *, onnx: bool = False) -> str:
    """Return the name of the wheelhouse for `build`; `make deploy` uploads it once."""
    return wheelhouse.name_of(lock(folder, onnx=onnx))


def uris(artifacts: dict[str, Artifact], base: str, wheels: str) -> ArtifactUris:
    """Where the artifacts lie below `base` (`s3://bucket/prefix/`), and the URI of the wheelhouse."""
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
    files = sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    sources = {path.relative_to(package.parent).as_posix(): path.read_bytes() for path in files}
    name = f"{package.name}-{_digest(_zipped(sources))}.zip"
    if sys.implementation.cache_tag == NODES_CACHE_TAG:
        modules = [module for module in sources if module.endswith(".py")]
        compiled = {f"{module}c": _compiled(package.parent, module) for module in modules}
        return Artifact(name, _zipped(sources | compiled))
    built = package.parent / name
    return Artifact(name, built.read_bytes() if built.exists() else _zipped(sources))


def _compiled(folder: Path, name: str) -> bytes:
    with TemporaryDirectory() as scratch:
        compiled = Path(scratch) / "module.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # those by time would not fit the archive's
        py_compile.compile(str(folder / name), str(compiled), name, doraise=True, invalidation_mode=mode)
        return compiled.read_bytes()


def _zipped(files: dict[str, bytes]) -> bytes:
    """Return a ZIP archive; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, date_time=EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return buffer.getvalue()
