"""WSGI filter in front of the local EMR: only clients with this start's credentials reach it.

EMR runs the commands of its callers, so an open port on loopback would let every web page in the developer's browser
run commands. The filter rejects

* a foreign `Host` header: DNS rebinding makes a browser send requests for a name of its own to loopback,
* any `Origin` header, and so every request and preflight of a web page: local AWS has no page that calls it,
* a request without a valid signature (Signature Version 4). The keys are random and in a file of mode 0600.

moto answers every origin (`flask_cors`) and checks no signature by default.
"""

from __future__ import annotations

import hmac
import io
import re
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from botocore.credentials import Credentials

MAX_BODY_BYTES = 10 * 2**20
"""Largest request body. EMR's own requests are some kilobytes."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[\w-]+)/(?P<service>[\w-]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[\w;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


class Gate:
    """Passes on the requests of clients that have the credentials.

    Args:
        application: WSGI application behind the gate.
        credentials: The only valid access key.
        hosts: Valid values of the header `Host`, such as `127.0.0.1:4567`.
    """

    def __init__(self, application: Callable[..., Any], credentials: Credentials, hosts: Collection[str]) -> None:
        self._application = application
        self._credentials = credentials
        self._hosts = frozenset(hosts)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        refusal = self._refusal(environ)
        if refusal is None:
            answer: Iterable[bytes] = self._application(environ, start_response)
            return answer
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{refusal}\n".encode()]

    def _refusal(self, environ: dict[str, Any]) -> str | None:
        """Return why a request is rejected; `None` if it is not."""
        host = environ.get("HTTP_HOST", "")
        if host not in self._hosts:
            return f"Host {host!r} is not local AWS; use {' or '.join(sorted(self._hosts))}."
        if "HTTP_ORIGIN" in environ:
            return "Web pages cannot call local AWS."
        if not self._is_signed(environ):
            return "The signature is not valid; source the environment.sh that local AWS wrote when it started."
        return None

    def _is_signed(self, environ: dict[str, Any]) -> bool:
        """Check the signature as the service does: compute it again from the request and the secret key."""
        match = _AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
        if not match or match["key"] != self._credentials.access_key:
            return False
        request = _request(environ, match["headers"].split(";"))
        if request is None or "timestamp" not in request.context:
            return False
        signer = SigV4Auth(self._credentials, match["service"], match["region"])
        to_sign = signer.string_to_sign(request, signer.canonical_request(request))
        return hmac.compare_digest(signer.signature(to_sign, request), match["signature"])


def _request(environ: dict[str, Any], signed_headers: Iterable[str]) -> AWSRequest | None:
    """Return the request as botocore signs it, or `None` if its body is too large.

    The body stays readable for the application.
    """
    size = int(environ.get("CONTENT_LENGTH") or 0)
    if size > MAX_BODY_BYTES:
        return None
    body = environ["wsgi.input"].read(size) if size else b""
    environ["wsgi.input"] = io.BytesIO(body)
    headers = {name: _header(environ, name) for name in signed_headers}
    url = f"http://{environ['HTTP_HOST']}{environ.get('RAW_URI') or environ.get('REQUEST_URI') or environ['PATH_INFO']}"
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=url, data=body, headers=headers)
    if "x-amz-date" in headers:
        request.context["timestamp"] = headers["x-amz-date"]
    return request


def _header(environ: dict[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}", ""))
