"""Lock that serialises writing requests to Airflow's API server on SQLite.

Without this lock the UI hangs and requests fail with "database is locked" when several users write at once. SQLite
allows one writer at a time. The API server writes its audit log on the thread of its event loop. A request that has
already written needs the same thread for its commit. Both wait for each other until SQLite's timeout. With the lock, a
writing request starts after the previous one has been committed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.configuration import conf

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
"""HTTP methods that do not write."""


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
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            async with self._lock:
                await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)
