"""Recognition of photos with the published run."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from fruits_features.client.serve.follower import Follower, LoadedRun, executor
from fruits_features.client.serve.limits import Limits, RateLimiter, Refusal, Slots
from fruits_features.client.serve.source import Neighbour, Source
from fruits_features.contract.errors import RunError
from fruits_features.contract.rejections import Reason, Rejected

NEIGHBOURS = 5
"""Number of nearest training pictures."""

_STATUSES = {
    Reason.EMPTY: 400,
    Reason.TOO_MANY_PIXELS: 413,
    Reason.NOT_AN_IMAGE: 415,
    Reason.UNSUPPORTED_FORMAT: 415,
    Reason.DECODER_TIMEOUT: 504,
}
"""HTTP statuses of rejected photos. The status of all others is 422."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Visitor:
    """Sender of requests.

    Args:
        name: Name or address, for the limits.
        may_use: Function that returns whether the visitor may use a run, given the run's name.
    """

    name: str
    may_use: Callable[[str], bool]


class Service:
    """Recognises photos, one after another, within the limits.

    Args:
        source: Place of the published run.
        limits: Limits of visitors.
        clock: Function that returns seconds.
    """

    def __init__(
        self, source: Source, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits or Limits()
        self.follower = Follower(source, self.limits, clock)
        self._fetch = source.fetch
        self._rate = RateLimiter(self.limits.per_minute, clock)
        self._slots = Slots(self.limits.concurrent, self.limits.concurrent_per_client)
        self._recognition = executor("recognise")
        self._fetchers = ThreadPoolExecutor(NEIGHBOURS, "fetch a picture")

    async def current(self, visitor: Visitor) -> LoadedRun:
        """Return the run that a visitor's photos are recognised with.

        Raises:
            Refusal: There is no run that can be used, or the visitor may not use it.
        """
        current = await self.follower.current()
        if not await asyncio.to_thread(visitor.may_use, current.run.run):
            raise Refusal(403, f"You may not read the DAG that published the run {current.run.run}.")
        return current

    async def recognise(
        self, visitor: Visitor, receive: Callable[[], Awaitable[bytes]], *, top: int, pictures: bool
    ) -> dict[str, Any]:
        """Recognise a photo.

        Args:
            visitor: Sender of the photo.
            receive: Function that receives the photo. It is called if the visitor may send one.
            top: Number of categories.
            pictures: Whether the neighbours have pictures.

        Returns:
            Name of the run, categories with their probabilities, and neighbours with path, category and cosine. A
            picture is a `data:` URI, or `None` if the image cannot be read.

        Raises:
            Refusal: The photo cannot be recognised, or a limit is exceeded.
        """
        self._rate.take(visitor.name)
        with self._slots.taken(visitor.name):
            current = await self.current(visitor)
            photo = await receive()
            categories, neighbours = await self._in_turn(_recognise, current, photo, top)
            shown = await self._pictures(current, neighbours) if pictures else [{}] * len(neighbours)
        return {
            "run": current.run.run,
            "categories": [{"category": name, "probability": probability} for name, probability in categories],
            "neighbours": [
                {"path": near.path, "category": near.category, "cosine": near.cosine, **picture}
                for near, picture in zip(neighbours, shown, strict=True)
            ],
        }

    async def _in_turn(self, function: Callable[..., _T], *arguments: Any) -> _T:  # noqa: ANN401 - of the function
        """Call a function on the thread of the child process.

        Raises:
            Refusal: Its turn did not come in time, or the run can no longer be used.
        """
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(self._recognition.submit(function, *arguments)), self.limits.answer_s
            )
        except TimeoutError as error:
            raise Refusal(503, "The server is busy; try again in some seconds.", 5) from error
        except RunError as error:
            raise Refusal(503, str(error)) from error

    async def _pictures(self, current: LoadedRun, neighbours: Sequence[Neighbour]) -> list[dict[str, str | None]]:
        """Return the pictures of neighbours. Those that do not arrive in time are left out."""
        fetches = [asyncio.wrap_future(self._fetchers.submit(self._fetch, near.path)) for near in neighbours]
        done, late = await asyncio.wait(fetches, timeout=self.limits.pictures_s)
        for fetch in late:
            fetch.cancel()
        images = [fetch.result() if fetch in done and not fetch.exception() else None for fetch in fetches]
        return [{"picture": _uri(small)} for small in await self._in_turn(_shrink, current, images)]


def _recognise(current: LoadedRun, photo: bytes, top: int) -> tuple[Sequence[tuple[str, float]], Sequence[Neighbour]]:
    """Return the categories and the neighbours of a photo.

    Raises:
        Refusal: The photo is rejected.
    """
    components = current.worker.embed(photo)
    if isinstance(components, Rejected):
        reason = components.reason
        raise Refusal(_STATUSES.get(reason, 422), components.detail, reason=reason)
    return current.recogniser.recognise(components, top), current.run.nearest_to(components, NEIGHBOURS)


def _shrink(current: LoadedRun, images: Sequence[bytes | None]) -> list[bytes | None]:
    return [current.worker.shrink(image) if image else None for image in images]


def _uri(picture: bytes | None) -> str | None:
    return f"data:image/webp;base64,{b64encode(picture).decode()}" if picture else None
