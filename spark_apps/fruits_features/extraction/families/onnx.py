"""Embeddings of a neural network, given as an ONNX file. Needs onnxruntime.

Unlike the other families, it processes images in batches, and the model determines its dimension. A model must have:

- One input with four axes. The 3 channels are the second axis (NCHW) or the last one (NHWC). The batch size is free or
  1. Height and width are fixed, or free, which means 224.
- Input of type float32 or uint8. A float32 model gets RGB from 0 to 1, normalised with ImageNet's mean and standard
  deviation, as torchvision's pretrained models do (https://docs.pytorch.org/vision/stable/models.html). A uint8 model
  gets RGB from 0 to 255 and contains its own preprocessing.
- A first output of floats with one row per image, which is flattened.

The complete decoded image is scaled to the model's height and width. The 100-pixel image of the other families is not
used, because networks are trained on larger ones.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import sha256
from importlib import import_module
from operator import attrgetter, methodcaller
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.errors import RunError
from fruits_features.extraction.subprocess_pool import Failure, Pool, SubprocessPool
from fruits_features.io.uri import read, read_published

BATCH_IMAGES = 32
"""Number of images that are scaled before they are embedded, and largest number per call of a model."""
SMALL_MODEL_BYTES, SMALL_BATCH_IMAGES = 32 * 1024 * 1024, 4
"""Size of a small model, and number of images per call of it. So its intermediate results fit into the processor's
cache. A larger model reads its weights from memory once per call, and gets `BATCH_IMAGES`. Figures are in
docs/measurements/recognition.md."""
DEADLINE_S = 120.0
"""Longest time to load a model or to embed one batch, in seconds.

A batch takes half a second with a network for phones. The largest networks take a hundred times as long.
"""
DEFAULT_SIDE = 224
MAX_DIMENSION = 4096
"""Largest dimension of an embedding. The PCA needs a float64 matrix of features x features: 134 MB for 4,096."""
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)
PARAMETERS = {"mean": MEAN, "standard deviation": STANDARD_DEVIATION, "scaled": "whole, by area or linearly"}

FLOAT, BYTE = "tensor(float)", "tensor(uint8)"
"""Types of inputs, as onnxruntime names them."""
_FLOATS = (FLOAT, "tensor(float16)", "tensor(double)")
_CHANNELS = 3
NCHW, NHWC = (0, 3, 1, 2), (0, 1, 2, 3)
"""Orders of the axes of inputs, as in `Input.axes`."""
_ERRORS = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
"""Errors of onnxruntime for models that it cannot load or run. They have no common base class."""


_T = TypeVar("_T")
_ModelCall = Callable[["Model"], Any]


class ModelError(RunError, ValueError):
    """The model cannot be used. The message names the fix."""


@dataclass(frozen=True)
class Weights:
    """Reference to a model. It is small and is sent to the workers and stored, unlike the model itself.

    Args:
        uri: `s3://bucket/key` or path of the model.
        sha256: SHA-256 of the file's content, in hexadecimal digits.
        dimension: Number of values per image in the model's output.
        path: Path of a copy on this machine; `None` if it has not been fetched.
    """

    uri: str
    sha256: str
    dimension: int
    path: str | None = None

    def open(self) -> "Model":
        """Load the model, once per process.

        Raises:
            ModelError: The model is missing or was replaced, or onnxruntime is not installed.
            S3AccessError: There is no copy, and S3 rejected the credentials or does not answer within seconds.
        """
        return _open(self)

    def fetch(self, reader: Callable[[str], bytes], path: Path) -> "Weights":
        """Fetch the model, and return the reference with the path of the copy.

        Args:
            reader: Function that returns the content of a file by its URI.
            path: Path of the copy.

        Raises:
            ModelError: The model is missing or was replaced.
        """
        path.write_bytes(_read_verified(self, reader))
        return replace(self, path=str(path))


class Input(NamedTuple):
    """Input of a model.

    Args:
        name: Name of the input.
        kind: `tensor(float)` or `tensor(uint8)`.
        axes: Order of the axes; 0 is the batch, 1 the height, 2 the width, 3 the channels.
        batch: Largest number of images per call: 1, or `BATCH_IMAGES` if it is free.
        size: Height and width of the images in pixels.
    """

    name: str
    kind: str
    axes: tuple[int, ...]
    batch: int
    size: tuple[int, int]

    @classmethod
    def of(cls, name: str, kind: str, shape: Sequence[object]) -> "Input":
        """Return the input of a name, type and shape.

        Raises:
            ValueError: The type or the shape is not supported.
        """
        axes = _axes_of(shape)
        if axes is None or kind not in {FLOAT, BYTE}:
            raise ValueError(f"{kind} of {_shape_text(shape)}")
        batch, *sides = (shape[axes.index(axis)] for axis in range(3))
        height, width = (side if isinstance(side, int) and side > 0 else DEFAULT_SIDE for side in sides)
        return cls(name, kind, axes, 1 if _is_fixed(batch) else BATCH_IMAGES, (height, width))

    def tensor(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.generic]:
        """Return images of the input's size, height x width x 3, uint8, RGB, as an input tensor."""
        pixels = np.stack(images)
        if self.kind == BYTE:
            return np.ascontiguousarray(pixels.transpose(self.axes))
        normalized = (pixels / np.float32(255) - np.asarray(MEAN, np.float32)) / np.asarray(
            STANDARD_DEVIATION, np.float32
        )
        return np.ascontiguousarray(normalized.transpose(self.axes))


class Model:
    """A loaded model. It uses one thread, because each core runs one worker.

    Args:
        source: Content of the file, or its path, which takes half the memory.
        name: Name of the model in error messages.

    Raises:
        ModelError: The model does not meet the requirements of this module, or onnxruntime is not installed.
    """

    def __init__(self, source: bytes | str, name: str) -> None:
        self._name = name
        self._session = _load(source, name)
        self._input = _input_of(self._session, name)
        self._batch = min(self._input.batch, _batch_of(source))
        self._output = _output_of(self._session, name)
        self.dimension = self._measure_dimension()
        """Number of values per image in the output."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input images in pixels."""
        return self._input.size

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute embeddings.

        Args:
            images: n images of the model's size, height x width x 3, uint8, RGB.

        Returns:
            n x dimension, float32.
        """
        starts = range(0, len(images), self._batch)
        rows = [self._run(images[start : start + self._batch]) for start in starts]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *rows])

    def _run(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        with _model_errors(
            f"The ONNX model {self._name} fails on {len(images)} images of {_shape_text(self.size)} pixels"
        ):
            (output,) = self._session.run([self._output], {self._input.name: self._input.tensor(images)})
        if output.shape[:1] != (len(images),):
            raise ModelError(
                f"The ONNX model {self._name} returns an output of {_shape_text(output.shape) or 'one value'} for "
                f"{len(images)} images; "
                "its first output must have one row per image."
            )
        return np.asarray(output, np.float32).reshape(len(images), -1)

    def _measure_dimension(self) -> int:
        """Run the model on black images, and return the number of values per image."""
        black = np.zeros((*self.size, _CHANNELS), np.uint8)
        dimension = int(self._run([black] * min(2, self._input.batch)).shape[1])
        if not 1 <= dimension <= MAX_DIMENSION:
            raise ModelError(
                f"The ONNX model {self._name} returns {dimension} values per image; the limit is {MAX_DIMENSION}. "
                "Make the pooled embedding its first output."
            )
        return dimension


class Embedder(Protocol):
    """Computes embeddings of images: `Model`, or `GuardedModel`."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input images in pixels."""

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute embeddings of images of this size."""


class GuardedModel:
    """A model whose calls have the deadline of a pool.

    Args:
        weights: Reference to the model.
        pool: Pool of `call_model` with these weights.
    """

    def __init__(self, weights: Weights, pool: Pool[_ModelCall, Any]) -> None:
        self._weights, self._pool = weights, pool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input images in pixels."""
        return self._call(attrgetter("size"))  # type: ignore[no-any-return] # `_call` returns any type

    @property
    def dimension(self) -> int:
        """Number of values per image in the output."""
        return self._call(attrgetter("dimension"))  # type: ignore[no-any-return] # `_call` returns any type

    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute embeddings, as `Model.embed`."""
        return self._call(methodcaller("embed", images))  # type: ignore[no-any-return] # `_call` returns any type

    def _call(self, call: _ModelCall) -> Any:  # noqa: ANN401 - the type of the call's result
        name = f"The ONNX model {self._weights.uri}"
        (outcome,) = self._pool.map([call], [name])
        if outcome is Failure.TIMED_OUT:
            raise ModelError(f"{name} took longer than {DEADLINE_S:g} s for one batch; use a smaller model.")
        if outcome is Failure.CRASHED:
            raise ModelError(f"{name} crashed its process twice; check the model, and the memory of the machine.")
        return outcome


def call_model(weights: Weights, call: Callable[[Model], _T]) -> _T:
    """Load a model, once per process, and return the result of a call with it."""
    return call(weights.open())


@contextmanager
def fetched_weights(uri: str | None) -> Iterator[Weights | None]:
    """Fetch and check a model, and keep a local copy until the context ends.

    Args:
        uri: `s3://bucket/key` or path of the model; `None` for no model.

    Raises:
        ModelError: The model does not exist or cannot be used.
    """
    if uri is None:
        yield None
        return
    with TemporaryDirectory(prefix="fruits-features-") as folder:
        yield _fetch(uri, Path(folder, f"{Path(folder).name}.onnx"))  # Spark requires a unique file name


def _fetch(uri: str, path: Path) -> Weights:
    data = _read(uri)
    path.write_bytes(data)
    weights = Weights(uri, sha256(data).hexdigest(), 0, str(path))
    return replace(weights, dimension=try_out(weights))


def try_out(weights: Weights) -> int:
    """Load a model and run it once, in a child process, and return the number of values per image in its output.

    Raises:
        ModelError: The model cannot be used, crashes, or takes too long.
    """
    with SubprocessPool(partial(call_model, weights), DEADLINE_S) as pool:
        return GuardedModel(weights, pool).dimension


def scale(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a complete image to a height and width, in pixels.

    >>> scale(np.zeros((100, 50, 3), np.uint8), (224, 224)).shape
    (224, 224, 3)
    """
    height, width = size
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=interpolation), np.uint8)


@lru_cache(maxsize=2)  # two, for a comparison of an old run with a new one
def _open(weights: Weights) -> Model:
    if weights.path is not None:
        return Model(weights.path, weights.uri)
    return Model(_read_verified(weights, read_published), weights.uri)  # runs have fetched a copy


def _read_verified(weights: Weights, reader: Callable[[str], bytes]) -> bytes:
    data = _read(weights.uri, reader)
    digest = sha256(data).hexdigest()
    if digest != weights.sha256:
        raise ModelError(
            f"The ONNX model {weights.uri} was replaced: its SHA-256 is {digest}, but the features were computed with "
            f"{weights.sha256}. Restore that model, or run again with the new one."
        )
    return data


def _read(uri: str, reader: Callable[[str], bytes] = read) -> bytes:
    try:
        return reader(uri)
    except FileNotFoundError as error:
        raise ModelError(f"There is no ONNX model {uri}; upload it, or give another URI.") from error


def _load(source: bytes | str, name: str) -> Any:  # noqa: ANN401 - onnxruntime is imported when it is needed
    try:
        runtime = import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise ModelError(
            "The family onnx needs onnxruntime, which is not installed; install spark_apps/requirements-onnx.txt."
        ) from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: all other errors are raised
    with _model_errors(f"The ONNX model {name} cannot be loaded (it must be one file that contains its weights)"):
        return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


@contextmanager
def _model_errors(description: str) -> Iterator[None]:
    """Raise errors of onnxruntime as `ModelError`, with a description of the failed action."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    errors: tuple[type[Exception], ...] = tuple(getattr(state, name) for name in _ERRORS)
    try:
        yield
    except errors as error:
        raise ModelError(f"{description}: {' '.join(str(error).split())}") from error


def _input_of(session: Any, name: str) -> Input:  # noqa: ANN401 - as above
    """Return the input of a model.

    Raises:
        ModelError: The input is not supported.
    """
    inputs = session.get_inputs()
    try:
        (only,) = inputs
        return Input.of(only.name, only.type, only.shape)
    except ValueError as error:
        described = ", ".join(f"{node.name}: {node.type} of {_shape_text(node.shape)}" for node in inputs) or "none"
        raise ModelError(
            f"The ONNX model {name} has the inputs {described}; it must have a single one of float32 or uint8, "
            "batch x 3 x height x width or batch x height x width x 3, with a batch that is free or 1."
        ) from error


def _axes_of(shape: Sequence[object]) -> tuple[int, ...] | None:
    """Return the order of the axes of an input, as in `Input.axes`; `None` for an unsupported shape.

    >>> _axes_of(["n", 3, 224, 224]), _axes_of([1, None, None, 3]), _axes_of([8, 3, 224, 224])
    ((0, 3, 1, 2), (0, 1, 2, 3), None)
    """
    if len(shape) != len(NCHW) or (_is_fixed(shape[0]) and shape[0] != 1):
        return None
    return next((axes for axes in (NCHW, NHWC) if shape[axes.index(3)] == _CHANNELS), None)


def _batch_of(source: bytes | str) -> int:
    """Return the number of images per call of a model with a free batch, from its content or path."""
    size_bytes = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
    return SMALL_BATCH_IMAGES if size_bytes <= SMALL_MODEL_BYTES else BATCH_IMAGES


def _output_of(session: Any, name: str) -> str:  # noqa: ANN401 - as above
    """Return the name of the first output.

    Raises:
        ModelError: The output is not a tensor of floats.
    """
    first = session.get_outputs()[0]
    if first.type not in _FLOATS:
        raise ModelError(
            f"The ONNX model {name} has the first output {first.name}: {first.type}; it must be a tensor of floats."
        )
    return str(first.name)


def _is_fixed(side: object) -> bool:
    """Return whether the model fixes the length of an axis. A free axis has a name or nothing."""
    return isinstance(side, int) and side > 0


def _shape_text(shape: Sequence[object]) -> str:
    """Return a shape as text.

    >>> _shape_text([None, 3, "height", 224])
    '? x 3 x height x 224'
    """
    return " x ".join("?" if side is None else str(side) for side in shape)
