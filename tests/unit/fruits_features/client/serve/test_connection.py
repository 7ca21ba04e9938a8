"""Connections of `fruits serve` on loopback: those without a request or a reader end, others do not."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from fruits_features.client.serve import command, connection
from fruits_features.client.serve.service import Service
from tests.support.served_app import serving_app

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 2**25
"""Bytes of an answer that the system does not buffer."""
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Address of an application that returns the body of a request."""
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    monkeypatch.setattr(connection, "READ_S", 0.5)
    app = FastAPI()

    @app.post("/")
    async def echo(request: Request) -> Any:  # noqa: ANN401
        return (await request.body()).decode()

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(LARGE))

    with serving_app(app, http=connection.Connection) as url:
        parts = httpx.URL(url)
        yield parts.host, parts.port or 0


def test_command_serves_with_such_connections(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:  # noqa: ANN401
    served: list[uvicorn.Config] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, _: served.append(server.config))

    command._serve(Service(memory.source), ("localhost",), socket.socket())  # noqa: SLF001

    assert served[0].http is connection.Connection


def test_idle_connections_do_not_keep_out_a_visitor(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:  # noqa: ANN401
    with _served(monkeypatch, memory) as (server, address), ExitStack() as idle:
        for _ in range(150):
            idle.enter_context(socket.create_connection(address))
        while len(server.server_state.connections) < 150:
            time.sleep(0.01)

        assert httpx.get(f"http://localhost:{address[1]}/health").json() == {"status": "ok"}


def test_request_whose_photo_does_not_arrive_does_not_keep_the_server_from_ending(
    monkeypatch: pytest.MonkeyPatch,
    memory: Any,  # noqa: ANN401
) -> None:
    monkeypatch.setattr(command, "_STOP_S", 1)
    with _served(monkeypatch, memory) as (server, address), socket.create_connection(address) as client:
        client.sendall(HEAD.replace(b"/", b"/recognise", 1) + b"\r\nli")
        while not server.server_state.tasks:
            time.sleep(0.01)
        server.should_exit = True

        assert b" 408 " not in _received(client)  # the answer 30 seconds later


@contextmanager
def _served(monkeypatch: pytest.MonkeyPatch, memory: Any) -> Iterator[tuple[uvicorn.Server, tuple[str, int]]]:  # noqa: ANN401
    """Serve with the configuration of the command, and yield the server and its address."""
    servers: list[uvicorn.Server] = []
    create = uvicorn.Server.__init__

    def created(server: uvicorn.Server, config: uvicorn.Config) -> None:
        create(server, config)
        servers.append(server)

    monkeypatch.setattr(uvicorn.Server, "__init__", created)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=command._serve, args=(Service(memory.source), ("localhost",), listener))  # noqa: SLF001
        thread.start()
        while not (servers and servers[0].started):
            time.sleep(0.01)
        try:
            yield servers[0], listener.getsockname()
        finally:
            servers[0].should_exit = True
            thread.join()


def _received(client: socket.socket) -> bytes:
    """Return all bytes until the server ends the connection."""
    client.settimeout(60)
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
        client.sendall(HEAD + b"\r\nli")
        time.sleep(1)  # longer than the wait for the first head
        client.sendall(b"me")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        client.sendall(b"POST")

        assert b"HTTP" not in _received(client)


def test_connection_ends_if_its_answer_is_not_read(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")

        with pytest.raises(OSError, match=r"pipe|reset"):
            _send_slowly(client)


def test_large_answer_that_is_read_arrives(address: tuple[str, int]) -> None:
    answer = httpx.get(f"http://{address[0]}:{address[1]}/large")

    assert len(answer.content) == LARGE


def test_slow_body_is_not_a_missing_request(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.sendall(HEAD + b"\r\nli")
        time.sleep(1)
        client.sendall(b"me")

        assert _received(client).endswith(b'"lime"')
