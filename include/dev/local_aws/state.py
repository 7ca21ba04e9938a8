"""The state folder of local AWS.

<state>/s3/<bucket>/…      objects, which survive restarts
<state>/clusters/          disks of the clusters, deleted when local AWS stops
<state>/local_aws.json     pid, start time, run id and environment of the running local AWS
<state>/environment.sh     the environment variables with which clients find it, to be sourced
<state>/local_aws.log      warnings and errors of the servers
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

NODES = Path(__file__).resolve().parents[3] / ".local" / "nodes"
"""Python environments of cluster nodes. All local AWS of this checkout share them: their names are content hashes."""
DEFAULT_BUCKET = "fruits"

_NO_PROXY = Path(__file__).parents[1] / "no_proxy.sh"
_NO_ACCOUNT = r"unset AWS_PROFILE $(env | sed -n 's/^\(AWS_[A-Za-z0-9_]*\)=.*/\1/p')"
"""Command for a shell without the user's AWS configuration.

`AWS_PROFILE` stands there because zsh refuses `unset` without a name.
"""


class StateFolder:
    """Paths of the state folder, and the record of the running local AWS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.s3 = self.folder / "s3"
        self.clusters = self.folder / "clusters"
        self.record = self.folder / "local_aws.json"
        self.exports = self.folder / "environment.sh"
        self.log = self.folder / "local_aws.log"
        self.lock = self.folder / "lock"

    def publish(self, report: dict[str, Any]) -> None:
        """Write the record and the exports, each atomically."""
        lines = [f"export {key}={shlex.quote(value)}\n" for key, value in report["environment"].items()]
        _write(self.exports, "".join([_NO_PROXY.read_text(encoding="utf-8"), f"{_NO_ACCOUNT}\n", *lines]))
        _write(self.record, json.dumps(report, indent=2))

    def read(self) -> dict[str, Any] | None:
        """Return the record of the local AWS that was started last, or `None` after `clear`."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return record

    def clear(self) -> None:
        """Remove the record and the exports."""
        self.record.unlink(missing_ok=True)
        self.exports.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    """Write a file atomically. It contains keys, so only its owner can read it."""
    partial = file.with_suffix(f".{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    partial.replace(file)
