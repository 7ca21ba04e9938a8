"""Protection of the pages against other web pages in the visitor's browser.

A web page may send requests to any address that its visitor's browser reaches. It reads no answer of another origin,
because no answer has CORS headers. Two ways remain:

* DNS rebinding: the page makes its own name resolve to this server, so that the browser takes both for one origin. The
  header `Host` then contains that name. `HostMiddleware` accepts addresses, which cannot be rebound, and known names.
* Requests without reading the answer, which still cost time. `refuse_other_sites` rejects them by `Sec-Fetch-Site` and
  `Origin`, which browsers set and pages cannot change.
"""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from fruits_features.client.serve.limits import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""The page loads its script and style from this server. Pictures are the visitor's photo and parts of answers."""
HEADERS: Final = {
    "Content-Security-Policy": f"{PAGE_POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of all answers of `fruits serve`."""


class HeadersMiddleware:
    """ASGI middleware that adds headers to every answer, errors included, unless the answer has them.

    Args:
        app: Application behind the middleware.
        headers: Headers by name.
    """

    def __init__(self, app: "ASGIApp", headers: Mapping[str, str]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Forward a request, and add the headers to its answer."""

        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HostMiddleware:
    """ASGI middleware that rejects requests for host names that are not this server's.

    Args:
        app: Application behind the middleware.
        names: Names of this server. IP addresses are always accepted.
    """

    def __init__(self, app: "ASGIApp", names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Forward a request, or answer with status 403."""
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else ""
        if scope["type"] == "http" and not self._is_own(host):
            sentence = f"Host {host!r} is not a name of this server; use its address, or start it with --name."
            await JSONResponse({"error": sentence}, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or bool(ip_address(name))
        except ValueError:
            return False


def refuse_other_sites(headers: Headers) -> None:
    """Reject a request that a page of another origin sent. Programs other than browsers send neither header.

    Raises:
        Refusal: The request comes from another origin.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_own = site == "same-origin" if site else origin is None or _is_of(origin, headers.get("host"))
    if not is_own:
        raise Refusal(403, "Pages of other sites cannot send photos.")


def _is_of(origin: str, host: str | None) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False
