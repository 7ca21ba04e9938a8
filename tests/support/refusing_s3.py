"""An S3 that refuses every request in one way, as AWS does where credentials, region or the object are wrong."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, NamedTuple

from tests.support.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator


class Refusal(NamedTuple):
    """An error response of S3 (Amazon S3 API Reference, *Error responses*)."""

    status: int
    code: str
    message: str
    region: str | None = None


EXPIRED = Refusal(400, "ExpiredToken", "The provided token has expired.")
ELSEWHERE = Refusal(301, "PermanentRedirect", "The bucket must be addressed using another endpoint.", "eu-north-1")
DENIED = Refusal(403, "AccessDenied", "User is not authorized to perform: s3:ListBucket", "eu-north-1")
UNKNOWN_KEY = Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
SKEWED = Refusal(403, "RequestTimeTooSkewed", "The difference between the request time and the time is too large.")
ARCHIVED = Refusal(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
KEY_DISABLED = Refusal(400, "KMS.DisabledException", "The specified KMS key is not enabled.")
CUSTOMER_KEY = Refusal(
    400,
    "InvalidRequest",
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve "
    "the object.",
)


@contextmanager
def refusing_s3(refusal: Refusal) -> Iterator[str]:
    """Serve on loopback while the block runs; gives the address."""
    body = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>".encode()

    class Handler(BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            self.send_response(refusal.status)
            if refusal.region:
                self.send_header("x-amz-bucket-region", refusal.region)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = _refuse  # noqa: N815 - names of the standard library

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url
