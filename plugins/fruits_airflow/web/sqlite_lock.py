"""Requests that write take turns, where Airflow's database is SQLite.

SQLite has one writer at a time, and Airflow's API server can wait for itself: it writes its audit log on the thread of
its event loop, while another request has written and needs that very thread to commit. Both then stand still until
SQLite gives up; the UI hangs, and one of the two fails. With turns a request begins when the one before is committed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.configuration import conf

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

READING = {"GET", "HEAD", "OPTIONS"}


def on_sqlite() -> bool:
    """Whether Airflow's database is SQLite, as on one's own machine."""
    return bool(conf.get("database", "sql_alchemy_conn").startswith("sqlite"))


class WriteLockMiddleware:
    """ASGI middleware: one request that may write at a time; those that read go on beside it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, when it is its turn."""
        if scope["type"] == "http" and scope["method"] not in READING:
            async with self._turn:
                await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)
