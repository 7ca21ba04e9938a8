"""Last lines of a cluster's logs, which show the cause of a failure in Airflow.

EMR writes below `LogUri` every five minutes, and once more when the cluster ends (EMR Management Guide, "View log
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

from fruits_features.contract.layout import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_emr.type_defs import ClusterTypeDef
    from mypy_boto3_s3 import S3Client

STREAMS = ("stderr", "stdout")
"""In client mode the driver's traceback is in stderr. The cause is often in stdout."""

TAIL_LINES = 40
"""Lines per stream."""
MAX_CONTAINERS = 3
"""Containers whose output is shown, latest first."""
POLL_S = 15
"""Seconds between two attempts to fetch logs."""
T = TypeVar("T")
_STEP_ENDED = re.compile(r"\bexitCode \d+")
_ERROR_WORD = re.compile("error|exception|traceback", re.IGNORECASE)
_NODE = re.compile(r"\bi-[0-9a-f]+\b")
_ACTION = re.compile(r"bootstrap action (\d+)")


@dataclass(frozen=True)
class ClusterLogs:
    """Logs of one cluster.

    Args:
        s3: S3 client.
        bucket: Bucket of `LogUri`; empty if the cluster has none.
        folder: Key prefix of the cluster's logs, ending in "/".
    """

    s3: S3Client
    bucket: str
    folder: str

    @classmethod
    def of(cls, s3: S3Client, cluster: ClusterTypeDef) -> Self:
        """Return the logs of a cluster that DescribeCluster returned."""
        bucket, prefix = split(cluster.get("LogUri", ""))
        return cls(s3, bucket, f"{prefix.strip('/')}/{cluster['Id']}/".lstrip("/"))

    def of_step(self, step_id: str, *, wait_s: float) -> dict[str, str]:
        """Return the last lines of a step's output.

        The output of its containers and its controller is added when the step's own output contains no error.

        Args:
            step_id: Id of the step (`s-…`).
            wait_s: Longest wait in seconds for EMR to deliver the complete logs. After that, the delivered part is
                returned.

        Returns:
            Text by stream name, without missing or empty streams.
        """
        folder = f"steps/{step_id}/"
        complete = poll_until(
            bool,
            fetch=lambda: _STEP_ENDED.search(self._controller(folder)),
            timeout_s=self._timeout(wait_s),
        )
        tails = self._tails(folder)
        if complete and not any(map(_ERROR_WORD.search, tails.values())):
            tails |= self._of_containers() | {"controller": self._controller(folder)}
        return tails

    def of_bootstrap(self, message: str, *, wait_s: float) -> dict[str, str]:
        """Return the last lines of the bootstrap action that a message of EMR names.

        Args:
            message: EMR's reason for the cluster's end. Without a node and an action number, the logs of all actions
                are read.
            wait_s: Longest wait in seconds for EMR to deliver the logs.
        """
        node, action = _NODE.search(message), _ACTION.search(message)
        folder = f"node/{node[0]}/bootstrap-actions/{action[1]}/" if node and action else "node/"
        return poll_until(
            bool,
            fetch=lambda: self._tails(folder, within="bootstrap-actions/"),
            timeout_s=self._timeout(wait_s),
        )

    def _of_containers(self) -> dict[str, str]:
        """Return the last lines of the containers that wrote last."""
        keys = sorted(self._list("containers/"), key=lambda entry: entry[1], reverse=True)
        texts = ((key, self._read(key)) for key, _ in keys if key.rpartition("/")[2].startswith(STREAMS))
        non_empty = ((key, text) for key, text in texts if text)
        return {key.removeprefix(self.folder): text for key, text in islice(non_empty, MAX_CONTAINERS)}

    def _timeout(self, wait_s: float) -> float:
        """Return the longest wait in seconds; 0 if the cluster has no logs."""
        return wait_s if self.bucket else 0

    def _tails(self, folder: str, within: str = "") -> dict[str, str]:
        keys = [key for key, _ in self._list(folder) if within in key]
        tails = {}
        for stream in STREAMS:
            # EMR names the file stderr.gz, or sometimes stderr.txt.gz
            for key in (key for key in keys if key.rpartition("/")[2].startswith(stream)):
                if text := self._read(key):
                    tails[stream] = text
        return tails

    def _controller(self, folder: str) -> str:
        texts = [self._read(key) for key, _ in self._list(folder) if key.rpartition("/")[2].startswith("controller")]
        return "\n".join(texts)

    def _list(self, folder: str) -> list[tuple[str, float]]:
        """Return the keys and times of the first 1,000 objects. A transient cluster writes fewer."""
        if not self.bucket:
            return []
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.folder}{folder}").get("Contents", [])
        return [(entry["Key"], entry["LastModified"].timestamp()) for entry in listed]

    def _read(self, key: str) -> str:
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        lines = gzip.decompress(body).decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-TAIL_LINES:])


def poll_until(condition: Callable[[T], bool], *, fetch: Callable[[], T], timeout_s: float) -> T:
    """Return the first fetched value that meets a condition, or the last one before the timeout.

    Args:
        condition: Condition that ends the polling.
        fetch: Function that is called every `POLL_S` seconds, and at least once.
        timeout_s: Longest wait in seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition(value := fetch()) and (remaining := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_S, remaining))
    return value
