"""Requests to an Airflow on SQLite: those that write take turns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fruits_airflow.web.sqlite_lock import WriteLockMiddleware, on_sqlite

if TYPE_CHECKING:
    import pytest
    from starlette.types import Receive, Scope, Send


def _order_of(*methods: str) -> list[str]:
    """Ask all at once, and tell which requests began and ended when."""
    order = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        order.append(f"{scope['method']} begins")
        await asyncio.sleep(0.01)
        order.append(f"{scope['method']} ends")
        if scope["method"] == "DELETE":
            raise ConnectionError("the client is gone")

    async def ask() -> None:
        server = WriteLockMiddleware(app)
        scopes = [{"type": "http", "method": method} for method in methods]
        asked = [server(scope, _receive, _send) for scope in scopes]
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(ask())
    return order


async def _receive() -> dict[str, str]:
    return {"type": "http.disconnect"}


async def _send(_message: object) -> None:
    pass


def test_request_that_writes_begins_when_the_one_before_has_ended() -> None:
    assert _order_of("POST", "PATCH") == ["POST begins", "POST ends", "PATCH begins", "PATCH ends"]


def test_request_that_reads_waits_for_none() -> None:
    assert _order_of("POST", "GET")[:2] == ["POST begins", "GET begins"]


def test_request_that_breaks_off_passes_the_turn_on() -> None:
    assert _order_of("DELETE", "PUT")[2:] == ["PUT begins", "PUT ends"]


def test_turns_are_for_sqlite_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////home/me/airflow.db")
    assert on_sqlite()

    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg2://airflow@db/airflow")
    assert not on_sqlite()
