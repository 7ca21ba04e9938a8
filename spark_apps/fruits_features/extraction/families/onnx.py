"""Embeddings: what a network of one's own, given as an ONNX file, tells of an image. Needs onnxruntime.

Unlike the other families it describes images in batches, and its dimension is the model's. What a model must be:

- one input of four axes, 3 of them being channels at the second (NCHW) or last place (NHWC); its batch is free or 1;
  its height and width are fixed, or free and then 224;
- of float32, given RGB from 0 to 1 normalised with ImageNet's mean and standard deviation, as torchvision's pretrained
  models are (its documentation, "Models and pre-trained weights"); or of uint8, given RGB as it is: then the model
  brings its own preprocessing;
- a first output of floats with one row an image, which is flattened.

The whole image is scaled to the model's height and width. It is taken as decoded, not from the families' common view:
networks know larger pictures.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.errors import RunError
from fruits_features.io.uri import read

BATCH_IMAGES = 32
DEFAULT_SIDE = 224
MAX_DIMENSION = 4096
"""The reduction holds a matrix of all features by all features: 134 MB for so many."""
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)
PARAMETERS = {"mean": MEAN, "standard deviation": STANDARD_DEVIATION, "scaled": "whole, by area or linearly"}

_FLOAT, _BYTE = "tensor(float)", "tensor(uint8)"
_FLOATS = (_FLOAT, "tensor(float16)", "tensor(double)")
_CHANNELS = 3
_NCHW, _NHWC = (0, 3, 1, 2), (0, 1, 2, 3)
_REFUSALS = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
"""What onnxruntime raises when it cannot load or run a model; they have no base class of their own."""


class ModelError(RunError, ValueError):
    """The model cannot be used; the message tells the way out."""


@dataclass(frozen=True)
class Weights:
    """Which model computed the features. Small: this travels, the model itself does not.

    Args:
        uri: where it comes from: `s3://bucket/key` or a path.
        sha256: of the file's content, in hexadecimal digits.
        dimension: how many numbers it gives for every image.
        path: of a copy on this machine; `None` where it is yet to be fetched.
    """

    uri: str
    sha256: str
    dimension: int
    path: str | None = None

    def open(self) -> "Model":
        """Open the model, once a process.

        Raises:
            ModelError: when it is gone, another one lies there now, or onnxruntime is missing.
        """
        return _open(self)


class Input(NamedTuple):
    """What a model wants.

    Args:
        name: of its input.
        kind: `tensor(float)` or `tensor(uint8)`.
        axes: which of batch, height, width, channels comes at each place.
        batch: how many images it takes at once.
        size: their height and width, in pixels.
    """

    name: str
    kind: str
    axes: tuple[int, ...]
    batch: int
    size: tuple[int, int]

    def tensor(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.generic]:
        """Lay out images of its size, height x width x 3, RGB, as it wants them."""
        pixels = np.stack(images)
        if self.kind == _BYTE:
            return np.ascontiguousarray(pixels.transpose(self.axes))
        normal = (pixels / np.float32(255) - np.asarray(MEAN, np.float32)) / np.asarray(STANDARD_DEVIATION, np.float32)
        return np.ascontiguousarray(normal.transpose(self.axes))


class Model:
    """A model that is loaded, with one thread like everything that runs beside others on a core.

    Args:
        source: the file's content, or its path, which takes half the memory.
        name: what errors call it.

    Raises:
        ModelError: when the model is none of those that this module describes, or onnxruntime is missing.
    """

    def __init__(self, source: bytes | str, name: str) -> None:
        self._name = name
        self._session = _load(source, name)
        self._input = _input_of(self._session, name)
        self._output = _output_of(self._session, name)
        self.dimension = self._try_out()
        """How many numbers it gives for every image."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that it takes, in pixels."""
        return self._input.size

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed images of its size, height x width x 3, RGB: n x dimension."""
        starts = range(0, len(images), self._input.batch)
        rows = [self._run(images[start : start + self._input.batch]) for start in starts]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *rows])

    def _run(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        with _explained(f"The ONNX model {self._name} fails on {len(images)} images of {_words(self.size)} pixels"):
            (output,) = self._session.run([self._output], {self._input.name: self._input.tensor(images)})
        if output.shape[:1] != (len(images),):
            raise ModelError(
                f"The ONNX model {self._name} gives an output of {_words(output.shape) or 'one number'} for "
                f"{len(images)} images; "
                "wanted is a first output with one row an image."
            )
        return np.asarray(output, np.float32).reshape(len(images), -1)

    def _try_out(self) -> int:
        """See on black images that the model runs, and what it gives."""
        black = np.zeros((*self.size, _CHANNELS), np.uint8)
        dimension = int(self._run([black] * min(2, self._input.batch)).shape[1])
        if not 1 <= dimension <= MAX_DIMENSION:
            raise ModelError(
                f"The ONNX model {self._name} gives {dimension} numbers an image; wanted are 1 to {MAX_DIMENSION}: "
                "let its first output be the pooled embedding."
            )
        return dimension


@contextmanager
def fetched_weights(uri: str | None) -> Iterator[Weights | None]:
    """Fetch a model, see that it can be used, and keep a copy on this machine for as long as the context lasts.

    Raises:
        ModelError: when there is none, or it cannot be used.
    """
    if uri is None:
        yield None
        return
    with TemporaryDirectory(prefix="fruits-features-") as folder:
        yield _fetch(uri, Path(folder, f"{Path(folder).name}.onnx"))  # Spark wants names that do not come again


def _fetch(uri: str, path: Path) -> Weights:
    data = _read(uri)
    path.write_bytes(data)
    return Weights(uri, sha256(data).hexdigest(), Model(data, uri).dimension, str(path))


def scale(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a whole image to a height and width.

    >>> scale(np.zeros((100, 50, 3), np.uint8), (224, 224)).shape
    (224, 224, 3)
    """
    height, width = size
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    by = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=by), np.uint8)


@lru_cache(maxsize=2)  # whoever reads an old run beside a new one
def _open(weights: Weights) -> Model:
    if weights.path is not None:
        return Model(weights.path, weights.uri)
    data = _read(weights.uri)
    found = sha256(data).hexdigest()
    if found != weights.sha256:
        raise ModelError(
            f"The ONNX model {weights.uri} is another one now: its SHA-256 is {found}, the features were computed with "
            f"{weights.sha256}; put that one back, or run again with this one."
        )
    return Model(data, weights.uri)


def _read(uri: str) -> bytes:
    try:
        return read(uri)
    except FileNotFoundError as error:
        raise ModelError(f"There is no ONNX model {uri}: put one there, or name another.") from error


def _load(source: bytes | str, name: str) -> Any:  # noqa: ANN401 - onnxruntime is loaded when it is needed
    try:
        runtime = import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise ModelError(
            "The family onnx needs onnxruntime, which is not installed here: install spark_apps/requirements-onnx.txt."
        ) from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal: what it complains of, it raises
    with _explained(f"The ONNX model {name} cannot be loaded (wanted is one file that holds its weights too)"):
        return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say in a sentence what onnxruntime refuses."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    refusals: tuple[type[Exception], ...] = tuple(getattr(state, name) for name in _REFUSALS)
    try:
        yield
    except refusals as error:
        raise ModelError(f"{what}: {' '.join(str(error).split())}") from error


def _input_of(session: Any, name: str) -> Input:  # noqa: ANN401
    """Read what a model wants.

    Raises:
        ModelError: when that cannot be given.
    """
    inputs = session.get_inputs()
    axes = _axes_of(inputs[0].shape) if len(inputs) == 1 else None
    if axes is None or inputs[0].type not in (_FLOAT, _BYTE):
        has = ", ".join(f"{one.name}: {one.type} of {_words(one.shape)}" for one in inputs) or "none"
        raise ModelError(
            f"The ONNX model {name} has the inputs {has}; wanted is a single one of float32 or uint8, "
            "batch x 3 x height x width or batch x height x width x 3, its batch free or 1."
        )
    (only,) = inputs
    batch, height, width = (only.shape[axes.index(axis)] for axis in range(3))
    size = (height if _is_fixed(height) else DEFAULT_SIDE, width if _is_fixed(width) else DEFAULT_SIDE)
    return Input(only.name, only.type, axes, 1 if _is_fixed(batch) else BATCH_IMAGES, size)


def _axes_of(shape: Sequence[object]) -> tuple[int, ...] | None:
    """Tell which of batch, height, width, channels comes at each place; `None` for a shape that does not fit.

    >>> _axes_of(["n", 3, 224, 224]), _axes_of([1, None, None, 3]), _axes_of([8, 3, 224, 224])
    ((0, 3, 1, 2), (0, 1, 2, 3), None)
    """
    if len(shape) != len(_NCHW) or (_is_fixed(shape[0]) and shape[0] != 1):
        return None
    return next((axes for axes in (_NCHW, _NHWC) if shape[axes.index(3)] == _CHANNELS), None)


def _output_of(session: Any, name: str) -> str:  # noqa: ANN401
    """Find the first output.

    Raises:
        ModelError: when it is no tensor of floats.
    """
    first = session.get_outputs()[0]
    if first.type not in _FLOATS:
        raise ModelError(
            f"The ONNX model {name} has the first output {first.name}: {first.type}; wanted is a tensor of floats."
        )
    return str(first.name)


def _is_fixed(side: object) -> bool:
    """Tell a length that the model fixes from one that it leaves free, which has a name or nothing."""
    return isinstance(side, int) and side > 0


def _words(shape: Sequence[object]) -> str:
    """Say a shape.

    >>> _words([None, 3, "height", 224])
    '? x 3 x height x 224'
    """
    return " x ".join("?" if side is None else str(side) for side in shape)
