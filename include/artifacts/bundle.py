"""What a cluster needs of this project, as files whose names carry the hash of what they are made of.

A run names exactly what it ran, a change never disturbs a run under way, and nothing is uploaded twice. Uploading is
left to the caller.
"""

from __future__ import annotations

import hashlib
import io
import py_compile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import fruits_features
from include.artifacts import wheelhouse

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first instant a ZIP archive can hold: the files' own times tell nothing."""

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
    """The small artifacts by role, the roles being fields of `ArtifactUris`.

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
    """The requirements as they stand in the bootstrap script, and as a wheelhouse fulfils them."""
    return (folder / ("requirements-onnx.txt" if onnx else "requirements.txt")).read_text().strip()


def wheelhouse_name(folder: Path, *, onnx: bool = False) -> str:
    """The wheelhouse that goes with `build`: too large to be made for each run, `make deploy` puts it there."""
    return wheelhouse.name_of(lock(folder, onnx=onnx))


def uris(artifacts: dict[str, Artifact], base: str, wheels: str) -> ArtifactUris:
    """Where the artifacts lie below `base` (`s3://bucket/prefix/`), and the URI of the wheelhouse."""
    return ArtifactUris(**{role: base + artifact.name for role, artifact in artifacts.items()}, wheelhouse=wheels)


def _named(stem: str, suffix: str, content: bytes) -> Artifact:
    return Artifact(f"{stem}-{_digest(content)}{suffix}", content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _packed(package: Path) -> Artifact:
    """The package as a ZIP archive, which is named after the sources alone: compiled ones may differ in their bytes.

    Each module is there compiled, too, since Python keeps nothing of what it compiles from an archive: a tenth of a
    second for each of its processes. One of another version than this passes over that and takes the source.
    """
    files = sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    sources = {path.relative_to(package.parent).as_posix(): path.read_bytes() for path in files}
    compiled = {f"{name}c": _compiled(package.parent, name) for name in sources if name.endswith(".py")}
    content = _zipped(sources | compiled)
    return Artifact(f"{package.name}-{_digest(_zipped(sources))}.zip", content)


def _compiled(folder: Path, name: str) -> bytes:
    with TemporaryDirectory() as scratch:
        compiled = Path(scratch) / "module.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # those by time would not fit the archive's
        py_compile.compile(str(folder / name), str(compiled), name, doraise=True, invalidation_mode=mode)
        return compiled.read_bytes()


def _zipped(files: dict[str, bytes]) -> bytes:
    """A ZIP archive: same files, same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, date_time=EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return buffer.getvalue()
