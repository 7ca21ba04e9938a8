"""Writing requests to an Airflow on SQLite run one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fruits_airflow.web import sqlite_lock
from fruits_airflow.web.sqlite_lock import WriteLockMiddleware, on_sqlite

if TYPE_CHECKING:
    import pytest
    from starlette.types import Receive, Scope, Send


def _order_of(*methods: str, path: str = "/api/v2/dags") -> list[str]:
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
        scopes = [{"type": "http", "method": method, "path": path} for method in methods]
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
    assert set(_order_of("POST", "GET")[:2]) == {"POST starts", "GET starts"}


def test_photo_that_is_recognised_does_not_wait() -> None:
    order = _order_of("POST", "PUT", path="/airflow/fruits/recognise/recognise")

    assert set(order[:2]) == {"POST starts", "PUT starts"}


def test_failed_request_releases_the_lock() -> None:
    assert _order_of("DELETE", "PUT")[2:] == ["PUT starts", "PUT ends"]


def _answers(*bodies: list[dict[str, Any]]) -> tuple[list[int], list[bytes]]:
    """Send a writing request per body concurrently; return the statuses and the bodies that the app received."""
    statuses: list[int] = []
    received: list[bytes] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        received.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:  # noqa: ANN401 - of ASGI
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def send_all() -> None:
        server = WriteLockMiddleware(app)
        await asyncio.gather(
            *(server({"type": "http", "method": "POST", "path": "/"}, _messages(body), send) for body in bodies)
        )

    asyncio.run(send_all())
    return statuses, received


def _messages(body: list[dict[str, Any]]) -> Receive:
    """Return a receiver of these messages, which then waits for ever, as a client that sends nothing more does."""
    left = list(body)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", **left.pop(0)}

    return receive


def test_request_of_half_a_body_is_rejected_and_blocks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_lock, "BODY_TIMEOUT_S", 0.2)
    half, complete = [{"body": b"a", "more_body": True}], [{"body": b"a", "more_body": True}, {"body": b"b"}]

    assert _answers(half, complete) == ([200, 408], [b"ab"])


def test_request_with_a_body_above_the_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_lock, "MAX_BODY_BYTES", 3)

    assert _answers([{"body": b"ab", "more_body": True}, {"body": b"cd"}]) == ([413], [])


def test_lock_is_for_sqlite_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////home/me/airflow.db")
    assert on_sqlite()

    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql+psycopg2://airflow@db/airflow")
    assert not on_sqlite()
