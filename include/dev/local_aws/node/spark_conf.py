"""Spark settings of local clusters, above all those that make `s3://` work without configuration as on EMR.

Hadoop's `ViewFileSystemOverloadScheme` serves `s3://` (see Hadoop's "View File System Overload Scheme Guide"; it is in
Spark's distribution). Each bucket is a mount table named after it, which falls back to the folder that the S3 server
serves. Two details matter:

* The link's target is written `s3:///folder` and not `file:///folder`. Only a target with the overloaded scheme is
  opened with `fs.viewfs.overload.scheme.target.s3.impl`, which is `RawLocalFileSystem`. A `file:` target is opened with
  the checksumming file system, which writes an object `.name.crc` beside each object.
* A mount table contains the buckets that exist when it is written. Settings are therefore written for each step.

EMR steps and standalone Spark clusters against local AWS use these settings. `step_process` starts the processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""JVM options for short jobs. The second compiler takes more CPU than it saves (docs/measurements/constants.md)."""


LOG4J2 = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
"""
"""Log configuration: warnings and errors to stderr, so that the application's output dominates a step's log."""


def spark_settings(s3_folder: Path, *, scratch: Path, master: str = "local[*,4]") -> dict[str, str]:
    """Return the Spark settings with which `s3://<bucket>/…` is a folder of this machine.

    Args:
        s3_folder: Folder that the S3 server serves, with one sub-folder per bucket.
        scratch: Existing folder for temporary files, such as shuffle files.
        master: Spark's master URL. The default retries failed tasks, as a cluster does and `local[*]` does not.
    """
    settings = {
        "spark.master": master,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(scratch),
        "spark.driver.defaultJavaOptions": f'"-Djava.io.tmpdir={scratch}" {QUICK_JVM}',
        "spark.sql.warehouse.dir": f"file://{quote(str(scratch / 'warehouse'))}",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        "spark.hadoop.fs.viewfs.overload.scheme.target.s3.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    }
    for bucket in sorted(folder for folder in s3_folder.resolve().iterdir() if folder.is_dir()):
        settings[f"spark.hadoop.fs.viewfs.mounttable.{bucket.name}.linkFallback"] = f"s3://{quote(str(bucket))}"
    return settings


def write_spark_conf(folder: Path, settings: dict[str, str]) -> Path:
    """Write `spark-defaults.conf` and `log4j2.properties` into a folder for `SPARK_CONF_DIR`, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{key} {value}\n" for key, value in settings.items()]
    (folder / "spark-defaults.conf").write_text("".join(lines), encoding="utf-8")
    (folder / "log4j2.properties").write_text(LOG4J2, encoding="utf-8")
    return folder
