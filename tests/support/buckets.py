"""A real S3 server over a folder, and a bucket whose objects are files."""

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features.schemas import INVENTORY, arrow_schema
from tests.support.waiting import wait_for

ACCESS_KEY, SECRET_KEY = "local-only", "local-only-secret"


@dataclass(frozen=True)
class Bucket:
    """A bucket whose objects are files, and a folder for its runs.

    Args:
        name: Name of the bucket.
        folder: Folder of the objects.
        runs: Folder of the inventories and outputs.
    """

    name: str
    folder: Path
    runs: Path

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def entries(self) -> list[dict[str, object]]:
        """Return the bucket's objects as rows of an inventory."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [self._entry(path) for path in files]

    def _entry(self, path: Path) -> dict[str, object]:
        key, data = path.relative_to(self.folder).as_posix(), path.read_bytes()
        folders = key.split("/")[1:-1]
        return {
            "key": key,
            "size": len(data),
            "etag": hashlib.md5(data).hexdigest(),  # noqa: S324 - S3's ETag
            "last_modified": datetime.fromtimestamp(path.stat().st_mtime, UTC),
            "split": folders[-2] if len(folders) > 1 else None,
            "category": folders[-1] if folders else None,
        }

    def inventory(self, entries: list[dict[str, object]] | None = None) -> str:
        """Write an inventory, by default of all objects, and return its folder."""
        folder = self.runs / "inventory"
        folder.mkdir(parents=True, exist_ok=True)
        schema = arrow_schema(INVENTORY)
        rows = self.entries() if entries is None else entries
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "part-00000.parquet")
        return str(folder)


@contextmanager
def s3_server(folder: Path, etag_hash: str = "MD5") -> Iterator[str]:
    """Serve a folder, in which each folder is a bucket, and yield the endpoint URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = str(Path(sys.executable).with_name("rclone"))
    command = [program, "serve", "s3", "--addr", address, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
    # Tests write to the folder directly, so listings must not be cached. With 0s, rclone 1.75 keeps a core busy.
    options = ["--vfs-cache-mode", "off", "--dir-cache-time", "1ms", "--etag-hash", etag_hash, "--config", os.devnull]
    with subprocess.Popen([*command, *options, str(folder)], stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(partial(_answers, address, server))
            yield f"http://{address}"
        finally:
            server.terminate()


def _answers(address: str, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "rclone ended before it answered"
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
