"""An S3 server in memory that takes every key literally. Servers over folders or URL routers cannot store all keys."""

from __future__ import annotations

from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote_plus, unquote

from tests.support.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUCKET = "fruits"
MODIFIED = "2026-01-01T00:00:00.000Z"


@contextmanager
def literal_s3(objects: Mapping[str, bytes]) -> Iterator[str]:
    """Serve objects, read only, as the bucket `fruits`, and yield the endpoint URL."""

    class Handler(_Handler):
        stored = objects

    with serving(Handler) as url:
        yield url


class _Handler(BaseHTTPRequestHandler):
    """GetObject and ListObjectsV2 in one page."""

    protocol_version = "HTTP/1.1"
    stored: Mapping[str, bytes]

    def do_GET(self) -> None:
        target, _, query = self.path.partition("?")
        key = unquote(target).removeprefix(f"/{BUCKET}").removeprefix("/")
        if not key:
            self._answer(200, self._list({name: values[0] for name, values in parse_qs(query).items()}).encode())
        elif key in self.stored:
            self._answer(200, self.stored[key])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{_etag(body)}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def _list(self, query: dict[str, str]) -> str:
        """Return the listing. Without URL encoding, XML 1.0 cannot express all keys."""
        assert query["encoding-type"] == "url"
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        entries: dict[str, str] = {}
        for key in sorted(self.stored, key=str.encode):
            if not key.startswith(prefix):
                continue
            head, found, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
            if found:
                name = f"{prefix}{head}{delimiter}"
                entries[name] = f"<CommonPrefixes><Prefix>{quote_plus(name, safe='/')}</Prefix></CommonPrefixes>"
            else:
                entries[key] = self._entry(key)
        return f"<ListBucketResult><EncodingType>url</EncodingType>{''.join(entries.values())}</ListBucketResult>"

    def _entry(self, key: str) -> str:
        data = self.stored[key]
        facts = f"<Size>{len(data)}</Size><ETag>&quot;{_etag(data)}&quot;</ETag><LastModified>{MODIFIED}</LastModified>"
        return f"<Contents><Key>{quote_plus(key, safe='/')}</Key>{facts}</Contents>"


def _etag(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()
