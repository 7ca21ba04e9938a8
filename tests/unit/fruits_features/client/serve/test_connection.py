"""Connections of `fruits serve` on loopback: those without a request end, others do not."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request

from fruits_features.client.serve import command, connection
from fruits_features.client.serve.service import Service
from tests.support.served_app import serving_app

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Address of an application that returns the body of a request."""
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    app = FastAPI()

    @app.post("/")
    async def echo(request: Request) -> Any:  # noqa: ANN401
        return (await request.body()).decode()

    with serving_app(app, http=connection.Connection) as url:
        parts = httpx.URL(url)
        yield parts.host, parts.port or 0


def test_command_serves_with_such_connections(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:  # noqa: ANN401
    served: list[uvicorn.Config] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, _: served.append(server.config))

    command._serve(Service(memory.source), ("localhost",), socket.socket())  # noqa: SLF001

    assert served[0].http is connection.Connection


def _received(client: socket.socket) -> bytes:
    """Return all bytes until the server ends the connection."""
    client.settimeout(10)
    parts = []
    while part := client.recv(4096):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("sent", [b"", b"POST / HT", HEAD])
def test_connection_without_the_head_of_a_request_ends(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as client:
        client.sendall(sent)

        assert _received(client) == b""


def test_head_that_arrives_byte_by_byte_does_not_keep_the_connection(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client, pytest.raises(OSError, match=r"pipe|reset"):
        _send_slowly(client)


def _send_slowly(client: socket.socket) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        client.sendall(b"P")
        time.sleep(0.05)


def test_connection_ends_without_the_head_of_its_next_request(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.sendall(HEAD + b"\r\nlime")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        client.sendall(b"POST")

        assert b"HTTP" not in _received(client)


def test_slow_body_is_not_a_missing_request(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.sendall(HEAD + b"\r\nli")
        time.sleep(1)
        client.sendall(b"me")

        assert _received(client).endswith(b'"lime"')
