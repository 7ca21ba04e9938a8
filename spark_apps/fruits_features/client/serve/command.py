"""The command `fruits serve`."""

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from functools import partial
from importlib import import_module
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

import obstore

from fruits_features.client.serve.limits import Limits
from fruits_features.client.serve.source import MAX_PICTURE_BYTES, Run, Source
from fruits_features.contract.layout import split
from fruits_features.io import object_store

if TYPE_CHECKING:
    from fruits_features.client.serve.service import Service

DEFAULT_PORT: Final = 8000
LOOPBACK: Final = "localhost"
_KEEP_ALIVE_S = 5
_STOP_S = 10
"""Longest time for requests in progress when the server is stopped, in seconds. Docker kills it after 10 s or more."""
_MAX_PORT = 65_535
_MAX_PER_MINUTE = 1_000_000
"""More than one process can recognise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command, besides the bucket and the data set."""
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port (default: %(default)s; 0: a free one)")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--share",
        action="store_true",
        help="allow a --host that other machines reach. There is no password and no encryption: everyone who reaches "
        "the port can send photos, and sees categories, file names and small training pictures of the bucket",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="host name under which browsers reach the page, besides the address (repeatable)",
    )
    parser.add_argument(
        "--photos-per-minute",
        type=_per_minute,
        default=Limits.per_minute,
        metavar="N",
        help="photos that one visitor may send per minute (default: %(default)s)",
    )
    parser.add_argument(
        "--trusted-proxy",
        type=_proxy,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address or network of a reverse proxy, whose header X-Forwarded-For names the visitors (repeatable). "
        "Without it, all visitors behind a proxy count as one",
    )


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, and return the exit code.

    Args:
        options: Result of `add_arguments`, `bucket`, `s3://<bucket>`, and `dataset`.

    Raises:
        ImportError: A package of the extra `serve` is not installed.
        OSError: The port is in use, or S3 cannot be read.
        ValueError: The published run cannot be used, or other machines reach the address without `--share`.
    """
    if not options.share and not _is_loopback(options.host):
        raise ValueError(
            f"Other machines reach --host {options.host}, and there is no password: they could send photos, and see "
            "categories, file names and training pictures of the bucket. Add --share if that is intended."
        )
    service = _service(options.bucket, options.dataset, Limits(per_minute=options.photos_per_minute))
    with _listen(options.host, options.port) as listener:
        service.follower.refresh().result()
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"http://{host}:{listener.getsockname()[1]}/  (Ctrl-C ends it)", flush=True)  # noqa: T201
        _serve(service, (LOOPBACK, *options.name), listener, options.trusted_proxy)
    return 0


def _serve(
    service: "Service", names: tuple[str, ...], listener: socket.socket, trusted_proxies: Sequence[str] = ()
) -> None:
    application = import_module("fruits_features.client.serve.application")
    connection = import_module("fruits_features.client.serve.connection")
    uvicorn = import_module("uvicorn")
    config = uvicorn.Config(
        application.application(service, names),
        http=connection.Connection,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
        lifespan="off",
    )
    with suppress(KeyboardInterrupt):  # raised again when the server has ended
        uvicorn.Server(config).run([listener])


def _service(bucket: str, dataset: str, limits: Limits) -> "Service":
    """Return the service for a data set, with credentials as boto3 finds them."""
    publications = import_module("fruits_features.publications")
    published_run = import_module("fruits_features.client.published_run")
    service = import_module("fruits_features.client.serve.service")

    def open_run(pointer: Mapping[str, Any]) -> Run:
        run: Run = published_run.PublishedRun.open(bucket, run=pointer["run"], dataset=dataset)
        return run

    pointer = partial(publications.published, bucket, dataset=dataset)
    started: Service = service.Service(Source(pointer, open_run, _fetch), limits)
    return started


def _fetch(path: str) -> bytes | None:
    """Return the content of a training image, or `None` if it is too large."""
    bucket, key = split(path)
    found = obstore.get(object_store.open_bucket(bucket, object_store.READER_RETRIES), key)
    return bytes(found.bytes()) if found.meta["size"] <= MAX_PICTURE_BYTES else None


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == EADDRNOTAVAIL:
            raise OSError(f"--host {host!r} is not an address of this machine.") from error
        if error.errno not in {EADDRINUSE, EACCES}:
            raise
        sentence = f"Port {port} cannot be used ({os.strerror(error.errno)}). Choose another one with --port."
        raise OSError(sentence) from error


def _is_loopback(host: str) -> bool:
    try:
        return host == LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        return False


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to {_MAX_PORT}")
    return int(text)


def _proxy(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address or a network such as 10.0.0.0/24") from error


def _per_minute(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_PER_MINUTE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of photos from 1 to {_MAX_PER_MINUTE}")
    return int(text)
