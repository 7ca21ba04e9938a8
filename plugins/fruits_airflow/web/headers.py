"""Security headers of all pages of the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FRAMED_BY_AIRFLOW: Final = "frame-ancestors 'self'"
"""Airflow's UI shows the pages in frames of its own origin. No other site may."""
POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    f"{FRAMED_BY_AIRFLOW}"
)
"""The pages have no scripts, images or forms. Their style is in the page."""
REPORT_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    f"base-uri 'none'; form-action 'none'; {FRAMED_BY_AIRFLOW}"
)
"""A report contains names from users. It runs its scripts in a sandbox, without Airflow's session."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class SecurityHeadersMiddleware:
    """ASGI middleware that adds the headers to every response, errors included, unless a page has set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, and add the headers to its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
