"""Connections of `fruits serve` on loopback: those without a request or a reader end, others do not."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from fruits_features.client.serve import command, connection
from fruits_features.client.serve.connection import HEAD_S, READ_S
from fruits_features.client.serve.service import Service
from tests.support.served_app import serving_app
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGE = 2**25
"""Bytes of an answer that the system does not buffer."""
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"


class Timer:
    """A callback that is due at a time of a clock."""

    def __init__(self, due_s: float, callback: Callable[[], object]) -> None:
        self.due_s, self.callback = due_s, callback

    def cancel(self) -> None:
        self.callback = lambda: None


class Clock:
    """The event loop of a connection, whose timers end when a test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._now_s, self._timers = loop, 0.0, list[Timer]()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a loop has
        return getattr(self._loop, name)

    def call_later(self, delay_s: float, callback: Callable[..., object], *arguments: object) -> Timer:
        timer = Timer(self._now_s + delay_s, partial(callback, *arguments))
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and call what is due meanwhile in the thread of the loop."""
        asyncio.run_coroutine_threadsafe(self._advance(seconds), self._loop).result(60)

    async def _advance(self, seconds: float) -> None:
        self._now_s += seconds
        due = [timer for timer in self._timers if timer.due_s <= self._now_s]
        for timer in sorted(due, key=lambda timer: timer.due_s):
            self._timers.remove(timer)
            timer.callback()


@dataclass
class Served:
    """An application that returns the body of a request, and the connections of its server."""

    address: tuple[str, int] = ("", 0)
    connections: list[connection.Connection] = field(default_factory=list)

    @contextmanager
    def connected(self) -> Iterator[tuple[socket.socket, Clock, connection.Connection]]:
        """Yield a client, and the clock and the other side of its connection."""
        with socket.create_connection(self.address) as client:
            client.settimeout(60)
            (other,) = wait_for(lambda: self.connections)
            yield client, other.loop, other


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()

    class Timed(connection.Connection):
        def connection_made(self, transport: Any) -> None:  # noqa: ANN401
            self.loop = Clock(self.loop)
            super().connection_made(transport)
            served.connections.append(self)

    app = FastAPI()

    @app.post("/")
    async def echo(request: Request) -> Any:  # noqa: ANN401
        return (await request.body()).decode()

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(LARGE))

    with serving_app(app, http=Timed) as url:
        parts = httpx.URL(url)
        served.address = parts.host, parts.port or 0
        yield served


def test_command_serves_with_such_connections(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:  # noqa: ANN401
    served: list[uvicorn.Config] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, _: served.append(server.config))

    command._serve(Service(memory.source), ("localhost",), socket.socket())  # noqa: SLF001

    assert served[0].http is connection.Connection


def test_idle_connections_do_not_keep_out_a_visitor(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:  # noqa: ANN401
    with _served(monkeypatch, memory) as (server, address), ExitStack() as idle:
        for _ in range(150):
            idle.enter_context(socket.create_connection(address))
        wait_for(lambda: len(server.server_state.connections) == 150)

        assert httpx.get(f"http://localhost:{address[1]}/health").json() == {"status": "ok"}


def test_request_whose_photo_does_not_arrive_does_not_keep_the_server_from_ending(
    monkeypatch: pytest.MonkeyPatch,
    memory: Any,  # noqa: ANN401
) -> None:
    monkeypatch.setattr(command, "_STOP_S", 1)
    with _served(monkeypatch, memory) as (server, address), socket.create_connection(address) as client:
        client.sendall(HEAD.replace(b"/", b"/recognise", 1) + b"\r\nli")
        wait_for(lambda: server.server_state.tasks)
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
        wait_for(lambda: servers and servers[0].started)
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


def _await_head(other: connection.Connection, sent: bytes) -> None:
    """Wait until these bytes, which are no complete head, have arrived at the server."""
    wait_for(lambda: other.conn.trailing_data[0], lambda arrived: arrived == sent)


@pytest.mark.parametrize("sent", [b"", b"POST / HT", HEAD])
def test_connection_without_the_head_of_a_request_ends(served: Served, sent: bytes) -> None:
    with served.connected() as (client, clock, other):
        client.sendall(sent)
        _await_head(other, sent)
        clock.advance(HEAD_S)

        assert _received(client) == b""


def test_head_that_arrives_byte_by_byte_does_not_keep_the_connection(served: Served) -> None:
    with served.connected() as (client, clock, other):
        for number in range(1, 5):
            client.sendall(b"P")
            _await_head(other, b"P" * number)
            clock.advance(HEAD_S / 4)

        assert _received(client) == b""


def test_connection_ends_without_the_head_of_its_next_request(served: Served) -> None:
    with served.connected() as (client, clock, other):
        client.sendall(HEAD + b"\r\nli")
        wait_for(lambda: other.cycle)
        clock.advance(2 * HEAD_S)  # longer than the wait for the first head
        client.sendall(b"me")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")
        client.sendall(b"POST")
        _await_head(other, b"POST")
        clock.advance(HEAD_S)

        assert b"HTTP" not in _received(client)


def test_connection_ends_if_its_answer_is_not_read(served: Served) -> None:
    with served.connected() as (client, clock, other):
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: other.flow.write_paused)
        clock.advance(READ_S)

        assert len(_received(client)) < LARGE


def test_large_answer_that_is_read_arrives_and_the_next_request_too(served: Served) -> None:
    with served.connected() as (client, clock, other):
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = client.makefile("rb")
        assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
        while answer.readline() != b"\r\n":
            pass
        assert len(answer.read(LARGE)) == LARGE
        client.sendall(HEAD + b"\r\nli")
        wait_for(lambda: other.cycle and not other.cycle.response_complete)
        clock.advance(2 * READ_S)
        client.sendall(b"me")

        assert answer.readline() == b"HTTP/1.1 200 OK\r\n"


def test_slow_body_is_not_a_missing_request(served: Served) -> None:
    with served.connected() as (client, clock, other):
        client.sendall(HEAD + b"Connection: close\r\n\r\nli")
        wait_for(lambda: other.cycle)
        clock.advance(2 * HEAD_S)
        client.sendall(b"me")

        assert _received(client).endswith(b'"lime"')
