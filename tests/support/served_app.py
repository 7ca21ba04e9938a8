"""A FastAPI application on loopback for one test."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI


@contextmanager
def serving_app(app: FastAPI, **options: Any) -> Iterator[str]:  # noqa: ANN401 - of uvicorn
    """Serve an application while the block runs, and yield the URL."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", **options))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
