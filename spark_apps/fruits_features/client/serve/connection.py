"""HTTP connections of `fruits serve`, which end if the client sends no request or reads no answer. Needs uvicorn."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""Longest time for the head of a request to arrive, in seconds. The limits of the service bound the rest."""
READ_S = 30.0
"""Longest time for the client to read what the system could not buffer of an answer, in seconds."""


class Connection(H11Protocol):
    """A connection that is closed if its client stops to send the head of a request, or to read an answer.

    uvicorn closes only connections that are silent after an answer, and has no option for others
    (https://github.com/Kludex/uvicorn/issues/157). They would keep their file descriptors until the server ends, and
    one client could take all of them. A client that reads nothing would also keep the server from ending.
    """

    _due: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Wait for the first request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # `pause_writing` as soon as the system's buffer is full
        self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._wait()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._unread = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no longer for the client to read."""
        _cancel(self._unread)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        _cancel(self._due)
        _cancel(self._unread)
        super().connection_lost(exc)

    def _wait(self) -> None:
        _cancel(self._due)
        self._due = self.loop.call_later(HEAD_S, self._close_without_request)

    def _close_without_request(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()
