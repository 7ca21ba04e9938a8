"""HTTP connections of `fruits serve`, which end if no request arrives. Needs uvicorn."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""Longest time for the head of a request to arrive, in seconds. The limits of the service bound the rest."""


class Connection(H11Protocol):
    """A connection that is closed if the head of its next request does not arrive in time.

    uvicorn closes only connections that are silent after an answer. Others would count for its limit of connections
    forever, so that one client could keep out all others.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._due:
            self._due.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._due:
            self._due.cancel()
        self._due = self.loop.call_later(HEAD_S, self._close_without_request)

    def _close_without_request(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
