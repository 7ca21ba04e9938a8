"""Python of a cluster's nodes: PySpark, pip and the packages that bootstrap actions install.

On EMR each node is a new machine. Here all clusters with the same bootstrap scripts share one virtual environment,
which is kept. The scripts run for each cluster, as on EMR, but find the packages that an earlier cluster installed. An
environment whose bootstrap failed is deleted.
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

PREINSTALLED = ("pip", "pyspark", "py4j")
"""Packages that a node's Python has before any bootstrap action: links to those of this interpreter."""


class NodePython:
    """One virtual environment, prepared by one cluster at a time.

    Args:
        nodes: Folder of the environments.
        scripts: Content of the bootstrap scripts, in order.
    """

    def __init__(self, nodes: Path, scripts: Sequence[bytes]) -> None:
        key = hashlib.sha256(f"{sys.prefix} {sys.version} {PREINSTALLED}".encode())
        for script in scripts:
            key.update(hashlib.sha256(script).digest())
        self.folder = nodes / key.hexdigest()[:16]
        self.executable = self.folder / "bin" / "python"
        self._complete = self.folder / "complete"
        nodes.mkdir(parents=True, exist_ok=True)
        self._lock = (nodes / f"{self.folder.name}.lock").open("w")

    def __enter__(self) -> Self:
        """Return itself; the lock is taken by `acquire`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self._lock.close()

    def acquire(self) -> bool:
        """Lock the environment and create it if needed. Return false while another cluster holds the lock."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not self._complete.exists():
            self._create()
        return True

    def keep(self) -> None:
        """Mark the environment as complete after all bootstrap actions have succeeded."""
        self._complete.touch()

    def discard(self) -> None:
        """Delete the environment after a failed bootstrap. A complete one is kept, since others may use it."""
        if not self._complete.exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _create(self) -> None:
        self.discard()
        venv.EnvBuilder(symlinks=True, with_pip=False).create(self.folder)
        # Debian's system Python installs by default into a folder that no virtual environment has.
        packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(self.folder)}))
        for name in PREINSTALLED:
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin:
                (packages / name).symlink_to(Path(spec.origin).parent)
