"""Tensors of a PyTorch checkpoint, without PyTorch.

`torch.save` of PyTorch before 1.6 writes pickles one after the other: a magic number, the version of the format, facts
about the machine, the object, and the keys of its storages (`_legacy_load` in torch/serialization.py). The storages
follow: the number of elements as an int64, and the elements. A pickle can call any function, so only the classes that a
dictionary of tensors needs are allowed.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001

_COUNT = np.dtype("<i8")
_STORAGES: dict[tuple[str, str], np.dtype[Any]] = {
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class CheckpointError(ValueError):
    """A file is not a checkpoint of this format, or it contains more than tensors."""


@dataclass(frozen=True)
class _Storage:
    """Type and number of the elements of a storage."""

    kind: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _View:
    """A tensor: the part of a storage that it shows, in elements."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Unpickler of a dictionary of tensors. It refuses all other classes."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        """Return an allowed class or function.

        Raises:
            CheckpointError: It is not allowed.
        """
        if (module, name) not in _ALLOWED:
            raise CheckpointError(f"The checkpoint needs {module}.{name}, which a file of tensors does not contain.")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: tuple[str, np.dtype[Any], str, str, int, None]) -> str:
        """Return the key of a storage."""
        _, kind, key, _, count, _ = pid
        self.storages[key] = _Storage(kind, count)
        return key


def _view(key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _View:
    return _View(key, offset, shape, strides)


_ALLOWED: dict[tuple[str, str], np.dtype[Any] | Callable[..., object]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    **_STORAGES,
}


def read(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a checkpoint by name.

    Args:
        file: A checkpoint that contains a dictionary of tensors, at its start.

    Raises:
        CheckpointError: The file is damaged or contains something else.
    """
    try:
        return _read(file)
    except (AttributeError, EOFError, IndexError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"The checkpoint is damaged: {error!r}.") from error


def _read(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    if [_Unpickler(file).load() for _ in range(2)] != [MAGIC_NUMBER, PROTOCOL_VERSION]:
        raise CheckpointError("The file does not start like a checkpoint.")
    _Unpickler(file).load()  # facts about the machine that wrote it
    unpickler = _Unpickler(file)
    views: dict[str, _View] = unpickler.load()
    keys: list[str] = _Unpickler(file).load()
    elements = {key: _elements(file, unpickler.storages[key]) for key in keys}
    return {name: _tensor(view, elements[view.key]) for name, view in views.items()}


def _elements(file: IO[bytes], storage: _Storage) -> NDArray[Any]:
    count = int.from_bytes(file.read(_COUNT.itemsize), "little")
    data = file.read(storage.count * storage.kind.itemsize)
    if count != storage.count or len(data) != storage.count * storage.kind.itemsize:
        raise CheckpointError(f"The checkpoint has {count} elements where it announces {storage.count}.")
    return np.frombuffer(data, storage.kind)


def _tensor(view: _View, elements: NDArray[Any]) -> NDArray[Any]:
    """Return a tensor as an array.

    Raises:
        CheckpointError: The tensor is larger than its storage.
    """
    last = view.offset + sum((side - 1) * stride for side, stride in zip(view.shape, view.strides, strict=True))
    if min((view.offset, *view.strides)) < 0 or last >= elements.size:
        raise CheckpointError(f"The checkpoint has a tensor of {view.shape} in a storage of {elements.size} elements.")
    strides = [stride * elements.itemsize for stride in view.strides]
    return np.ascontiguousarray(as_strided(elements[view.offset :], view.shape, strides)).reshape(view.shape)
