"""The ends of a cluster's logs, fetched from where EMR puts them, so that a failure can be read in Airflow.

Below `LogUri`, which EMR fills every five minutes and once more when the cluster ends (Management Guide, "View log
files"):

    <cluster>/steps/<step>/{controller,stderr,stdout}.gz
    <cluster>/containers/<application>/<container>/{stderr,stdout}.gz
    <cluster>/node/<instance>/bootstrap-actions/<number>/{controller,stderr,stdout}.gz
"""

from __future__ import annotations

import gzip
import re
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_emr.type_defs import ClusterTypeDef
    from mypy_boto3_s3 import S3Client

STREAMS = ("stderr", "stdout")
"""In client mode the driver's traceback is in stderr, but the cause is often in stdout."""

TAIL_LINES = 40
CONTAINERS = 3
POLL_S = 15
T = TypeVar("T")
_STEP_OVER = re.compile(r"\bexitCode \d+")
_WORD = re.compile("error|exception|traceback", re.IGNORECASE)
_NODE = re.compile(r"\bi-[0-9a-f]+\b")
_ACTION = re.compile(r"bootstrap action (\d+)")


@dataclass(frozen=True)
class ClusterLogs:
    """The logs of one cluster.

    Args:
        s3: an S3 client.
        bucket: of `LogUri`; empty where the cluster has none.
        folder: the cluster's own, ending in "/".
    """

    s3: S3Client
    bucket: str
    folder: str

    @classmethod
    def of(cls, s3: S3Client, cluster: ClusterTypeDef) -> Self:
        """Find them by what DescribeCluster tells."""
        log_uri = urlsplit(cluster.get("LogUri", ""))
        return cls(s3, log_uri.netloc, f"{log_uri.path.strip('/')}/{cluster['Id']}/".lstrip("/"))

    def of_step(self, step_id: str, *, wait_s: float) -> dict[str, str]:
        """The last lines that a step wrote, and its containers' where it died without a word of why.

        Args:
            step_id: `s-…`.
            wait_s: how long to wait for EMR to deliver all of it; then what is there has to do.

        Returns:
            Stream name to text; a stream that is not there or empty is missing.
        """
        folder = f"steps/{step_id}/"
        over = await_found(lambda: _STEP_OVER.search(self._tail(folder, "controller")), self._wait(wait_s))
        tails = self._tails(folder)
        if over and not any(map(_WORD.search, tails.values())):
            tails |= self._of_containers() | {"controller": self._tail(folder, "controller")}
        return tails

    def of_bootstrap(self, message: str, *, wait_s: float) -> dict[str, str]:
        """The last lines of the bootstrap action that a message of EMR names.

        Args:
            message: the cluster's reason; without node and number in it, every action that said something counts.
            wait_s: how long to wait for EMR to deliver them.
        """
        node, action = _NODE.search(message), _ACTION.search(message)
        folder = f"node/{node[0]}/bootstrap-actions/{action[1]}/" if node and action else "node/"
        return await_found(lambda: self._tails(folder, within="bootstrap-actions/"), self._wait(wait_s))

    def _of_containers(self) -> dict[str, str]:
        """What the containers wrote that were the last to write something."""
        keys = sorted(self._list("containers/"), key=lambda entry: entry[1], reverse=True)
        texts = ((key, self._read(key)) for key, _ in keys if key.rpartition("/")[2].startswith(STREAMS))
        said = ((key, text) for key, text in texts if text)
        return {key.removeprefix(self.folder): text for key, text in islice(said, CONTAINERS)}

    def _wait(self, wait_s: float) -> float:
        """No time at all where the cluster has no logs."""
        return wait_s if self.bucket else 0

    def _tails(self, folder: str, within: str = "") -> dict[str, str]:
        keys = [key for key, _ in self._list(folder) if within in key]
        tails = {}
        for stream in STREAMS:
            # EMR names them stderr.gz, sometimes stderr.txt.gz
            for key in (one for one in keys if one.rpartition("/")[2].startswith(stream)):
                if text := self._read(key):
                    tails[stream] = text
        return tails

    def _tail(self, folder: str, stream: str) -> str:
        texts = [self._read(key) for key, _ in self._list(folder) if key.rpartition("/")[2].startswith(stream)]
        return "\n".join(texts)

    def _list(self, folder: str) -> list[tuple[str, float]]:
        """Keys and times of the newest thousand at most, which is more than a short cluster writes."""
        if not self.bucket:
            return []
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.folder}{folder}").get("Contents", [])
        return [(entry["Key"], entry["LastModified"].timestamp()) for entry in listed]

    def _read(self, key: str) -> str:
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        lines = gzip.decompress(body).decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-TAIL_LINES:])


def await_found(look: Callable[[], T], wait_s: float, wanted: Callable[[T], bool] = bool) -> T:
    """Look until what is found is wanted, or time is over; at least once."""
    until = time.monotonic() + wait_s
    while not wanted(found := look()) and (left := until - time.monotonic()) > 0:
        time.sleep(min(POLL_S, left))
    return found
