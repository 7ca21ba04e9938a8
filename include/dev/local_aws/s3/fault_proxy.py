"""Proxy in front of the S3 server that adds latency and faults.

For tests and benchmarks::

    with S3FaultProxy(("127.0.0.1", 4566), latency_s=0.03, faults=first(2, Fault.SLOW_DOWN)) as proxy:
        environment["AWS_ENDPOINT_URL_S3"] = proxy.url

The proxy forwards bytes. Of HTTP it only reads where a request begins and how long an answer is, so that it costs less
than the server behind it. It does not support pipelining: a client must wait for an answer before it sends the next
request on the same connection.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections import Counter, deque
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_REQUEST = re.compile(rb"([A-Z]+) (/\S*) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with a timeout of 0 s: closing resets the connection."""
_RESET_DELAY_S = 0.01
"""Seconds before a reset. A reset without delay may overtake the bytes that were sent before it."""


class Fault(Enum):
    """Faults of a request. Answers without a body pass the faults that concern half of the body.

    All but `ARCHIVED` are temporary: a client repeats the request.
    """

    ARCHIVED = "403 Forbidden", "InvalidObjectState"
    INTERNAL_ERROR = "500 Internal Server Error", "InternalError"
    SLOW_DOWN = "503 Slow Down", "SlowDown"
    GARBLED = "the answer is not HTTP"
    RESET = "the connection is reset before any answer"
    RESET_IN_BODY = "the connection is reset after half of the body"
    SHORT_BODY = "the connection is closed in good order after half of the body"
    SILENCE = "no answer ever comes"
    SILENCE_IN_BODY = "nothing comes after half of the body"


_ERRORS = {Fault.ARCHIVED, Fault.INTERNAL_ERROR, Fault.SLOW_DOWN}
_AFTER_HALF = {Fault.RESET_IN_BODY, Fault.SHORT_BODY, Fault.SILENCE_IN_BODY}


class Request(NamedTuple):
    """A request, as far as the choice of its fault needs it.

    Args:
        method: HTTP method.
        target: Path and query as sent.
        nth: Number of this request among those of the same method and target, from 1.
    """

    method: str
    target: str
    nth: int


def first(requests: int, fault: Fault, method: str = "GET") -> Callable[[Request], Fault | None]:
    """Return a function that lets the first `requests` requests of a method for each target fail."""
    return lambda request: fault if request.method == method and request.nth <= requests else None


class S3FaultProxy:
    """Proxy in a thread of this process, on a free port of loopback.

    Args:
        server: Host and port of the S3 server.
        latency_s: Seconds by which each answer is delayed.
        faults: Function that returns the fault of a request, or `None` to forward it.
    """

    def __init__(
        self,
        server: tuple[str, int],
        *,
        latency_s: float = 0.0,
        faults: Callable[[Request], Fault | None] = lambda _: None,
    ) -> None:
        self.server, self.latency_s = server, latency_s
        self.seen: Counter[tuple[str, str]] = Counter()
        """Number of requests by method and target."""
        self.failed: Counter[Fault] = Counter()
        """Number of failed requests by fault."""
        self.open: set[_Side] = set()
        self._faults = faults
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="S3 fault proxy", daemon=True)

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        listening = self._loop.create_server(lambda: _ClientSide(self), "127.0.0.1", 0, backlog=1024)
        self._listening = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort all open connections and stop."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """URL of the proxy."""
        host, port = self._listening.sockets[0].getsockname()
        return f"http://{host}:{port}"

    def judge(self, data: bytes) -> Fault | None:
        """Return the fault of the request that begins with these bytes, or `None`; count the request."""
        beginning = _REQUEST.match(data)
        if beginning is None:
            return None
        method, target = (group.decode() for group in beginning.groups())
        self.seen[method, target] += 1
        fault = self._faults(Request(method, target, self.seen[method, target]))
        if fault:
            self.failed[fault] += 1
        return fault

    async def _close(self) -> None:
        self._listening.close()
        for side in list(self.open):
            side.transport.abort()
        await self._listening.wait_closed()


class _Side(asyncio.Protocol):
    """One side of a connection. While its write buffer is full, the other side is not read."""

    transport: asyncio.Transport
    other: _Side | None = None

    def __init__(self, proxy: S3FaultProxy) -> None:
        self.proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        self.transport = transport
        self.proxy.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.proxy.open.discard(self)
        if self.other:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other:
            self.other.transport.resume_reading()


class _ClientSide(_Side):
    """Client's side: forwards requests, unless they fail."""

    def __init__(self, proxy: S3FaultProxy) -> None:
        super().__init__(proxy)
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def connection_lost(self, exc: Exception | None) -> None:
        self._connecting.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        server, fault = self.other, self.proxy.judge(data)
        assert isinstance(server, _ServerSide)  # noqa: S101 - nothing is read before
        if fault in _ERRORS:
            self._deaf = True
            server.answer(_error(*fault.value))
        elif fault is Fault.GARBLED:
            self._deaf = True
            server.answer(b"nonsense\r\n\r\n")
        elif fault is Fault.RESET:
            self.reset()
        elif fault is Fault.SILENCE:
            self._deaf = True
        else:
            server.fault = fault
            server.transport.write(data)

    def reset(self) -> None:
        """Reset the connection. Bytes in transit are lost."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.transport.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.other = await loop.create_connection(lambda: _ServerSide(self), *self.proxy.server)
        self.transport.resume_reading()


class _ServerSide(_Side):
    """Server's side: forwards answers after the latency, and half of them if they fail."""

    def __init__(self, client: _ClientSide) -> None:
        super().__init__(client.proxy)
        self.other = self.client = client
        self.fault: Fault | None = None
        self._latency_s = self.proxy.latency_s
        self._delayed: deque[bytes] = deque()
        self._withheld = b""

    def data_received(self, data: bytes) -> None:
        if self.fault in _AFTER_HALF:
            self._withheld += data
            self._pass_half()
        else:
            self.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._latency_s, super().connection_lost, exc)

    def answer(self, data: bytes) -> None:
        """Send bytes to the client in order, after the latency."""
        if not self._latency_s:
            self.client.transport.write(data)
            return
        self._delayed.append(data)
        asyncio.get_running_loop().call_later(self._latency_s, self._write_delayed)

    def _write_delayed(self) -> None:
        self.client.transport.write(self._delayed.popleft())

    def _pass_half(self) -> None:
        """Forward half of the answer once it has arrived, then fail. Forward an answer without a body completely."""
        head, end, _ = self._withheld.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head + b"\r\n")
        half = int(length[1]) // 2 if length else 0
        if not half:
            self.fault, answer, self._withheld = None, self._withheld, b""
            self.answer(answer)
        elif len(self._withheld) >= len(head + end) + half:
            self._break_off(self._withheld[: len(head + end) + half])

    def _break_off(self, beginning: bytes) -> None:
        self.transport.pause_reading()
        self.client.transport.pause_reading()
        self.client.transport.write(beginning)
        if self.fault is Fault.RESET_IN_BODY:
            asyncio.get_running_loop().call_later(_RESET_DELAY_S, self.client.reset)
        elif self.fault is Fault.SHORT_BODY:
            self.client.transport.close()


def _error(status: str, code: str) -> bytes:
    """Return S3's answer to a request that it does not serve. The connection is closed after it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>Injected.</Message></Error>'
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return f"{head}\r\n{body}".encode()
