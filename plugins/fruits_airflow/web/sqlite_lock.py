"""Lock that serialises writing requests to Airflow's API server on SQLite.

Without this lock the UI hangs and requests fail with "database is locked" when several users write at once. SQLite
allows one writer at a time. The API server writes its audit log on the thread of its event loop. A request that has
already written needs the same thread for its commit. Both wait for each other until SQLite's timeout. With the lock, a
writing request starts after the previous one has been committed.

The body of a request is received before the lock is taken, within a time limit. Otherwise one client that sends half a
request would block every other one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.configuration import conf

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
"""HTTP methods that do not write."""

UNLOCKED_PATH = "/fruits/recognise/recognise"
"""End of the path of a request that writes nothing: a photo is recognised. It has limits of its own."""

BODY_TIMEOUT_S = 15.0
"""Seconds within which the complete body of a writing request must arrive."""

MAX_BODY_BYTES = 10 * 2**20
"""Largest body of a writing request. Those of Airflow's API are some kilobytes."""


def on_sqlite() -> bool:
    """Return whether Airflow's database is SQLite, as in local development."""
    return bool(conf.get("database", "sql_alchemy_conn").startswith("sqlite"))


class WriteLockMiddleware:
    """ASGI middleware that runs one writing request at a time. Reading requests run concurrently."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, with the lock if it may write."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS or scope["path"].endswith(UNLOCKED_PATH):
            await self._app(scope, receive, send)
            return
        try:
            received = await asyncio.wait_for(_receive_body(receive), BODY_TIMEOUT_S)
        except TimeoutError:
            await _reject(send, 408, f"The request body did not arrive within {BODY_TIMEOUT_S:g} seconds.")
            return
        except _BodyTooLargeError:
            await _reject(send, 413, f"The request body is larger than {MAX_BODY_BYTES} bytes.")
            return

        async def replay() -> Message:
            return received.pop(0) if received else await receive()

        async with self._lock:
            await self._app(scope, replay, send)


class _BodyTooLargeError(Exception):
    """A request body exceeds `MAX_BODY_BYTES`."""


async def _receive_body(receive: Receive) -> list[Message]:
    """Return the messages of a request up to the end of its body, or of the connection."""
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise _BodyTooLargeError
        if not message.get("more_body", False):
            return messages


async def _reject(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
