"""The Python of a cluster's nodes: PySpark, pip, and nothing but what bootstrap actions install.

On EMR each node is a fresh machine whose Python is changed by bootstrap actions. Here the nodes of all clusters with
the same bootstrap scripts share one virtual environment, which is kept: the scripts run for every cluster, as on EMR,
and find installed what an earlier cluster's have installed. What a bootstrap that failed has left is thrown away.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import shutil
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

GIVEN = ("pip", "pyspark", "py4j")
"""What a node's Python has before any bootstrap action; packages of this interpreter's, lent by a link."""


class NodePython:
    """One environment, to be prepared by one cluster at a time.

    Args:
        nodes: where environments are kept.
        scripts: the content of the bootstrap scripts, in order.
    """

    def __init__(self, nodes: Path, scripts: Sequence[bytes]) -> None:
        key = hashlib.sha256(f"{sys.prefix} {sys.version} {GIVEN}".encode())
        for script in scripts:
            key.update(hashlib.sha256(script).digest())
        self.folder = nodes / key.hexdigest()[:16]
        self.executable = self.folder / "bin" / "python"
        self._complete = self.folder / "complete"
        nodes.mkdir(parents=True, exist_ok=True)
        self._lock = (nodes / f"{self.folder.name}.lock").open("w")

    def __enter__(self) -> Self:
        """Go on to `take` it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others take it."""
        self._lock.close()

    def take(self) -> bool:
        """Make it ready for bootstrap actions; false while another cluster prepares it."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not self._complete.exists():
            self._create()
        return True

    def keep(self) -> None:
        """Note that all bootstrap actions have succeeded."""
        self._complete.touch()

    def discard(self) -> None:
        """Remove what a failed bootstrap may have left half-way; what was complete before may be in use."""
        if not self._complete.exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _create(self) -> None:
        self.discard()
        venv.EnvBuilder(symlinks=True, with_pip=False).create(self.folder)
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(self.folder)}))
        for name in GIVEN:
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin:
                (packages / name).symlink_to(Path(spec.origin).parent)
