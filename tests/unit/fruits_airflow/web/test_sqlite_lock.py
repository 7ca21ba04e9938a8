"""Writing requests to an Airflow on SQLite run one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fruits_airflow.web.sqlite_lock import WriteLockMiddleware, on_sqlite

if TYPE_CHECKING:
    import pytest
    from starlette.types import Receive, Scope, Send


def _order_of(*methods: str) -> list[str]:
    """Send all requests concurrently, and return the order in which they start and end."""
    order = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        order.append(f"{scope['method']} starts")
        await asyncio.sleep(0.01)
        order.append(f"{scope['method']} ends")
        if scope["method"] == "DELETE":
            raise ConnectionError("the client is gone")

    async def send_all() -> None:
        server = WriteLockMiddleware(app)
        scopes = [{"type": "http", "method": method} for method in methods]
        requests = [server(scope, _receive, _send) for scope in scopes]
        await asyncio.gather(*requests, return_exceptions=True)

    asyncio.run(send_all())
    return order


async def _receive() -> dict[str, str]:
    return {"type": "http.disconnect"}


async def _send(_message: object) -> None:
    pass


def test_writing_request_starts_after_the_previous_one_has_ended() -> None:
    assert _order_of("POST", "PATCH") == ["POST starts", "POST ends", "PATCH starts", "PATCH ends"]


def test_reading_request_does_not_wait() -> None:
    assert _order_of("POST", "GET")[:2] == ["POST starts", "GET starts"]


def test_failed_request_releases_the_lock() -> None:
    assert _order_of("DELETE", "PUT")[2:] == ["PUT starts", "PUT ends"]


def test_lock_is_for_sqlite_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////home/me/airflow.db")
    assert on_sqlite()

    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg2://airflow@db/airflow")
    assert not on_sqlite()
