"""Checkpoints of PyTorch are read without PyTorch, and only if they contain nothing but tensors."""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections import OrderedDict
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from include.deploy.model import checkpoint
from include.deploy.model.checkpoint import CheckpointError

FLOATS = np.arange(12, dtype="<f4")


class Storage:
    """Stands for a storage in a checkpoint, which names its class, key and number of elements."""

    def __init__(self, kind: type, key: str, count: int) -> None:
        self.id = ("storage", kind, key, "cpu", count, None)


class Tensor:
    """Stands for a tensor in a checkpoint."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self._arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self._arguments  # noqa: SLF001


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return obj.id if isinstance(obj, Storage) else None


@pytest.fixture
def floats(monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A storage of 12 floats, and modules with the names that a checkpoint contains."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    kind = type("FloatStorage", (), {"__module__": "torch"})
    vars(torch)["FloatStorage"] = kind

    def rebuild() -> None: ...

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    vars(utils)[rebuild.__qualname__] = rebuild
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return Storage(kind, "7", len(FLOATS))


def _checkpoint(content: object, *, magic: int = checkpoint.MAGIC_NUMBER, count: int = len(FLOATS)) -> io.BytesIO:
    file = io.BytesIO()
    for part in (magic, checkpoint.PROTOCOL_VERSION, {"little_endian": True}, content, ["7"]):
        Pickler(file, protocol=2).dump(part)
    file.write(count.to_bytes(8, "little") + FLOATS.tobytes())
    return io.BytesIO(file.getvalue())


def test_tensors_have_their_shape_offset_and_strides(floats: Storage) -> None:
    tensors = {"a": Tensor(floats, 0, (3, 4), (4, 1)), "b": Tensor(floats, 2, (2, 3), (1, 3))}

    read = checkpoint.read(_checkpoint(OrderedDict(tensors)))

    assert read["a"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert read["b"].tolist() == [[2, 5, 8], [3, 6, 9]]
    assert read["b"].dtype == np.float32


class Command:
    """An object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/owned",)


@pytest.mark.parametrize(("content", "name"), [(Command(), r"\w+\.system"), ({"a": io.BytesIO()}, "_io.BytesIO")])
def test_other_classes_and_functions_are_refused(content: object, name: str) -> None:
    with pytest.raises(
        CheckpointError, match=rf"^The checkpoint needs {name}, which a file of tensors does not contain"
    ):
        checkpoint.read(_checkpoint(content))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"), [((3, 5), (4, 1), 0), ((12,), (1,), 1), ((2,), (-1,), 3), ((2,), (1,), -1)]
)
def test_tensors_do_not_reach_beyond_their_storage(
    floats: Storage, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    with pytest.raises(CheckpointError, match=r"has a tensor of .* in a storage of 12 elements"):
        checkpoint.read(_checkpoint({"a": Tensor(floats, offset, shape, strides)}))


def test_damaged_files_are_reported(floats: Storage) -> None:
    intact = _checkpoint({"a": Tensor(floats, 0, (12,), (1,))}).getvalue()

    with pytest.raises(CheckpointError, match=r"^The file does not start like a checkpoint\.$"):
        checkpoint.read(_checkpoint({}, magic=1))
    with pytest.raises(CheckpointError, match="has 11 elements where it announces 12"):
        checkpoint.read(_checkpoint({"a": Tensor(floats, 0, (12,), (1,))}, count=11))
    with pytest.raises(CheckpointError, match="announces 12"):
        checkpoint.read(io.BytesIO(intact[:-1]))
    for content in (b"", b"PK\x03\x04", intact[:100], _checkpoint({"a": 1}).getvalue(), _checkpoint([]).getvalue()):
        with pytest.raises(CheckpointError, match=r"^The (checkpoint is damaged|file does not start)"):
            checkpoint.read(io.BytesIO(content))
