"""Spark of the nodes: links to the folders of the installed PySpark."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory

LINKED_FOLDERS = ("bin", "jars")
"""Folders of PySpark that a node has. Its Python archive is excluded: it would come first on Python's path, and each
process would compile it again."""


class NodeSpark:
    """Spark's home, shared by all clusters with the same PySpark.

    Args:
        nodes: Folder that contains the homes.

    Attributes:
        home: Value of `SPARK_HOME`.
        commands: Folder of `spark-submit`.
    """

    def __init__(self, nodes: Path) -> None:
        spec = importlib.util.find_spec("pyspark")
        assert spec is not None  # noqa: S101 - a requirement of this project
        assert spec.origin is not None  # noqa: S101 - a package of files
        self._pyspark = Path(spec.origin).parent
        key = repr((str(self._pyspark), LINKED_FOLDERS))
        self.home = nodes / f"spark-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        self.commands = self.home / "bin"

    def environment(self, python: Path) -> dict[str, str]:
        """Return the variables with which programs find Spark, and Spark finds its Python."""
        return {
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": str(python),
            "PYSPARK_DRIVER_PYTHON": str(python),
        }

    def ensure_home(self) -> None:
        """Create the home if it is missing. The rename is atomic, since other processes may do the same."""
        if self.home.exists():
            return
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.home.parent) as folder:
            partial = Path(folder) / "spark"
            partial.mkdir()
            for name in LINKED_FOLDERS:
                (partial / name).symlink_to(self._pyspark / name)
            try:
                partial.rename(self.home)
            except OSError:
                if not self.home.exists():
                    raise
