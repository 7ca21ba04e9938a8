"""Child processes of a task that read and write S3 with the credentials of Airflow's connection."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import psutil
from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from mypy_boto3_s3 import S3Client

_OF_OTHER_KEYS = ("AWS_SESSION_TOKEN", "AWS_PROFILE")
"""Variables that belong to other credentials than those of the connection."""

_CONTAINER = Path("/sys/fs/cgroup")
"""Control group of a container, as it sees itself (Linux kernel documentation, "Control Group v2")."""

_WATCH_S = 0.5
"""Seconds between two measurements of a child's memory."""


def environment(s3: S3Hook) -> dict[str, str]:
    """Return the environment of a child process: this process's, with keys, region and endpoint of an S3 hook.

    The keys are not renewed. botocore renews those of a role ten minutes before they expire, so they are valid for at
    least ten minutes (`botocore.credentials.RefreshableCredentials`).

    Raises:
        botocore.exceptions.NoCredentialsError: The connection has no credentials, and neither has this process.
    """
    from airflow.sdk.log import mask_secret

    client, credentials = cast("S3Client", s3.conn), s3.get_session().get_credentials()
    if credentials is None:
        raise NoCredentialsError
    keys = credentials.get_frozen_credentials()
    for secret in filter(None, (keys.secret_key, keys.token)):
        mask_secret(secret)
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_OTHER_KEYS}
    given = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token,
        "AWS_REGION": client.meta.region_name,
        "AWS_ENDPOINT_URL_S3": _endpoint(client.meta.endpoint_url),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return inherited | {name: value for name, value in given.items() if value}


def _endpoint(url: str) -> str | None:
    """Return the address of S3 if it is not one that clients derive from the region.

    >>> _endpoint("https://s3.eu-west-1.amazonaws.com"), _endpoint("https://s3.example.com")
    (None, 'https://s3.example.com')
    """
    return None if ".amazonaws.com" in (urlsplit(url).hostname or "") else url


def free_memory_mb(container: Path = _CONTAINER) -> float:
    """Return the memory in MB that this machine has for new processes, and its container if that has a limit.

    Args:
        container: Folder of the container's control group.
    """
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((container / name).read_text()) for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (container / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(statistics["inactive_file"]))  # the kernel gives these pages back
    return free / 1e6


@dataclass(frozen=True)
class Limits:
    """Limits of a child process.

    Args:
        memory_mb: Resident memory of the process and its children in MB.
        seconds: Time from its start in seconds.
    """

    memory_mb: float
    seconds: float


class Child:
    """A child process whose output is logged, and which is ended at its limits.

    Its resident memory is measured, because a limit of the address space (`RLIMIT_AS`) would count what NumPy, Arrow
    and OpenCV reserve without using it. Its standard input is an open pipe, which closes when this process ends.

    Args:
        command: Program and arguments.
        environment: Environment of the process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.stopped: str | None = None
        """The limit at which the process was ended; `None` if it was not."""
        self._process = subprocess.Popen(  # noqa: S603 - the caller's command
            list(command),
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,  # so that `end` also reaches its children
        )

    def follow(self, log: Callable[[str], object], limits: Limits) -> int:
        """Log the output line by line until the process ends, and return its exit code.

        The process is ended when this call is interrupted.
        """
        threading.Thread(target=self._watch, args=(limits,), name="limits", daemon=True).start()
        try:
            for line in self._process.stdout or ():
                log(line.rstrip())
            return self._process.wait()
        finally:
            self.end()
            self._process.wait()

    def end(self) -> None:
        """Kill the process and its children, if it has not ended."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _watch(self, limits: Limits) -> None:
        """End the process when it exceeds a limit."""
        deadline = time.monotonic() + limits.seconds
        while self._process.poll() is None:
            if (used_mb := _memory_mb(self._process.pid)) > limits.memory_mb:
                self.stopped = f"it took {used_mb:,.0f} MB of memory, and {limits.memory_mb:,.0f} MB are allowed"
            elif time.monotonic() > deadline:
                self.stopped = f"it took longer than {limits.seconds:,.0f} s"
            if self.stopped:
                self.end()
            time.sleep(_WATCH_S)


def _memory_mb(pid: int) -> float:
    """Return the resident memory of a process and its children in MB."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total / 1e6
