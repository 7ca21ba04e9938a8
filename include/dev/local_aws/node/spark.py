"""The Spark of the clusters' nodes: PySpark's own, lent by links, and an archive of its classes.

A JVM that starts Spark reads and checks some ten thousand classes. With an archive of what one has read and checked
already ("Class Data Sharing" in Java's documentation) it starts two seconds sooner. This command makes the archive;
`make` runs it once, when it installs. A JVM goes without an archive that is missing or does not fit.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from include.dev.local_aws.node.spark_conf import spark_settings, write_spark_conf
from include.dev.local_aws.state import NODES

LENT = ("bin", "jars")
"""What a node has of Spark: not the archive of PySpark, which would come first on Python's path and be compiled anew by
every process, a second each."""

SUBMIT = """\
#!/bin/sh
# Settings by an option, and not by their folder: on the class path it would keep the JVM from using its archive.
if [ "$SPARK_CONF_DIR" ]; then
    export LOG4J_CONFIGURATION_FILE="$SPARK_CONF_DIR/log4j2.properties"
    set -- --properties-file "$SPARK_CONF_DIR/spark-defaults.conf" "$@"
    unset SPARK_CONF_DIR
fi
exec "$SPARK_HOME/bin/spark-submit" "$@"
"""

TRAINING = Path(__file__).with_name("cds_warmup.py")
TRAINING_S = 300.0


class NodeSpark:
    """Spark's home, the same for all clusters for as long as PySpark and Java are the same.

    Args:
        nodes: where it is kept.

    Attributes:
        home: where it is.
        commands: the folder of `spark-submit`, which on EMR, too, is a script before Spark's own.
        archive: of classes; may be missing.
    """

    def __init__(self, nodes: Path) -> None:
        spec = importlib.util.find_spec("pyspark")
        assert spec is not None  # noqa: S101 - it is one of this project's requirements
        assert spec.origin is not None  # noqa: S101 - a package of files
        self._pyspark = Path(spec.origin).parent
        jars = self._pyspark / "jars"
        key = repr((str(jars), jars.stat().st_mtime_ns, _java(), LENT, SUBMIT))
        self.home = nodes / f"spark-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        self.commands = self.home / "commands"
        self.archive = self.home / "classes.jsa"

    def environment(self, python: Path) -> dict[str, str]:
        """Return the variables by which programs find it, and it finds its Python."""
        return {
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": str(python),
            "PYSPARK_DRIVER_PYTHON": str(python),
        }

    def take(self) -> None:
        """Make the home, unless it is there: whole or not at all, as others may do the same now."""
        if self.home.exists():
            return
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.home.parent) as folder:
            half = Path(folder) / "spark"
            (half / "commands").mkdir(parents=True)
            for name in LENT:
                (half / name).symlink_to(self._pyspark / name)
            (half / "commands" / "spark-submit").write_text(SUBMIT, encoding="utf-8")
            (half / "commands" / "spark-submit").chmod(0o755)
            try:
                half.rename(self.home)
            except OSError:
                if not self.home.exists():
                    raise

    def make_archive(self) -> None:
        """Make the archive, unless it is there: whole or not at all.

        Raises:
            subprocess.SubprocessError: the training fails; its output says why.
        """
        self.take()
        if not self.archive.exists():
            with TemporaryDirectory(dir=self.home) as folder:
                made = self._train(Path(folder))
                with made.open("rb") as file:
                    os.fsync(file.fileno())  # a JVM checks what an archive says of itself, but dies of one cut short
                made.rename(self.archive)

    def _train(self, folder: Path) -> Path:
        """Run Spark as a step does, and have the JVM write an archive of the classes it has used; returns that."""
        bucket, archive = folder / "s3" / "training", folder / self.archive.name
        bucket.mkdir(parents=True)
        shutil.copyfile(TRAINING, bucket / TRAINING.name)
        zipfile.ZipFile(bucket / "empty.zip", "w").close()
        settings = spark_settings(folder / "s3", scratch=folder)
        settings["spark.driver.extraJavaOptions"] = f'"-XX:ArchiveClassesAtExit={archive}"'
        conf = write_spark_conf(folder / "conf", settings)
        subprocess.run(  # noqa: S603 - our own command
            [
                *(str(self.commands / "spark-submit"), "--deploy-mode", "client"),
                *("--py-files", "s3://training/empty.zip", f"s3://training/{TRAINING.name}"),
            ],
            cwd=folder,
            env={**os.environ, **self.environment(Path(sys.executable)), "SPARK_CONF_DIR": str(conf)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TRAINING_S,
            check=True,
        )
        return archive


def _java() -> tuple[str, int, int] | None:
    """Tell which Java Spark's scripts will run: the file of its own classes changes with every version."""
    home = os.environ.get("JAVA_HOME")
    program = f"{home}/bin/java" if home else shutil.which("java")
    modules = Path(program).resolve().parents[1] / "lib" / "modules" if program else None
    if modules is None or not modules.exists():
        return None
    found = modules.stat()
    return str(modules), found.st_mtime_ns, found.st_size


def main(argv: list[str] | None = None) -> int:
    """Make the archive; without one everything works, but slower, so that a failure is only told."""
    parser = argparse.ArgumentParser(prog="python -m include.dev.local_aws.node.spark", description=main.__doc__)
    parser.parse_args(argv)
    try:
        NodeSpark(NODES).make_archive()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"Local Spark will start slower, since its classes could not be archived: {error}", file=sys.stderr)  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
