"""The part of the recognition that reads the bytes of photos. It runs in a child process.

A photo may be made to crash a decoder, or to keep it busy. A child with a deadline bounds what one photo can cost. The
caller's process keeps neither pixels nor the model in memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from fruits_features.contract.errors import RunError
from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.extraction.subprocess_pool import Failure, IsolationError, SubprocessPool
from fruits_features.imaging.limits import opencv_environment
from fruits_features.imaging.thumbnail import thumbnail
from fruits_features.projection import Projection

_Call = Callable[[Projection], Any]


class Worker:
    """The child process of one run. One thread uses it at a time. The child ends when nothing refers to the worker.

    Args:
        projection: Projection of the run.
        max_pixels: Largest image in pixels.
        deadline_s: Longest time of a call in seconds.

    Raises:
        IsolationError: The child cannot be started, or does not load the model in time.
        ModelError: The model of the family `onnx` cannot be used.
    """

    def __init__(self, projection: Projection, max_pixels: int, deadline_s: float) -> None:
        self._max_pixels, self._deadline_s = max_pixels, deadline_s
        environment = opencv_environment(max_pixels)
        self._pool: SubprocessPool[_Call, Any] = SubprocessPool(partial(_call, projection), deadline_s, environment)
        end = finalize(self, self._pool.__exit__, None, None, None)
        try:
            self._load_model()
        except RunError:
            end()  # the traceback refers to the worker for as long as the error is kept
            raise

    def embed(self, photo: bytes) -> NDArray[np.float32] | Rejected:
        """Return the components of a photo, k values, or the reason of its rejection.

        Raises:
            IsolationError: The child cannot be started again.
            ModelError: The model of the family `onnx` cannot be used.
        """
        outcome: NDArray[np.float32] | Rejected | Failure = self._do(
            "A photo", partial(_embed, photo, self._max_pixels)
        )
        if outcome is Failure.CRASHED:
            return Rejected(Stage.DECODE, Reason.DECODER_CRASH, "The photo crashes its decoder.")
        if outcome is Failure.TIMED_OUT:
            detail = f"The photo was not recognised within {self._deadline_s:g} seconds."
            return Rejected(Stage.DECODE, Reason.DECODER_TIMEOUT, detail)
        return outcome

    def shrink(self, image: bytes) -> bytes | None:
        """Return a small WebP of an image, or `None` if it cannot be decoded."""
        outcome: bytes | Failure | None = self._do("A training image", partial(_shrink, image, self._max_pixels))
        return None if isinstance(outcome, Failure) else outcome

    def _load_model(self) -> None:
        outcome = self._do("The model", _load_model)
        if isinstance(outcome, Failure):
            raise IsolationError(f"The model of the family onnx could not be loaded: its process {outcome.value}.")

    def _do(self, name: str, call: _Call) -> Any:  # noqa: ANN401 - the type of the call's result
        (outcome,) = self._pool.map([call], [name])
        return outcome


def _call(projection: Projection, call: _Call) -> Any:  # noqa: ANN401 - the type of the call's result
    return call(projection)


def _load_model(projection: Projection) -> None:
    if projection.model:
        projection.model.open()


def _embed(photo: bytes, max_pixels: int, projection: Projection) -> NDArray[np.float32] | Rejected:
    outcome = projection.extract(photo, max_pixels)
    return outcome if isinstance(outcome, Rejected) else projection.project(outcome.features[np.newaxis])[0]


def _shrink(image: bytes, max_pixels: int, _: Projection) -> bytes | None:
    return thumbnail(image, max_pixels)
