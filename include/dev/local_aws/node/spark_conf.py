"""The Spark settings that EMR gives its clusters and that a laptop has to give itself: above all, `s3://`.

On EMR, `s3://` is there without a word in the application. Here the same word is given by Hadoop's own
`ViewFileSystemOverloadScheme` (in Spark's distribution, see Hadoop's "View File System Overload Scheme Guide"): each
bucket is a mount table named after it, which falls back to the folder that the S3 server serves. Two details matter:

* the link's target is written `s3:///folder`, not `file:///folder`: only a target with the overloaded scheme is opened
  with `fs.viewfs.overload.scheme.target.s3.impl`, `RawLocalFileSystem`; a `file:` target is opened with the
  checksumming one, and every object would get a `.name.crc` object beside it (seen);
* a mount table knows the buckets that exist when it is written. A bucket made later is unknown to a running Spark, so
  settings are written anew for each step.

Used for EMR steps, and by whoever starts a standalone Spark cluster against local AWS. It leaves starting processes to
`step_process`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""A short job pays for compiling code that never gets hot: 43 s of CPU with the first compiler alone, 70 s with both
(644 images, JDK 17)."""

WITHOUT_A_WORD = "-Xshare:auto -Xlog:cds*=off"
"""A JVM does without an archive of classes that does not fit, and says so on stdout unless it is told not to."""

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
"""Warnings and worse, to stderr, so that a step's log shows what the application says."""


def spark_settings(
    s3_folder: Path, *, scratch: Path, master: str = "local[*,4]", archive: Path | None = None
) -> dict[str, str]:
    """Return the Spark settings under which `s3://<bucket>/…` is a folder of this machine.

    Args:
        s3_folder: The folder that the S3 server serves, one sub-folder a bucket.
        scratch: Folder for shuffle files and the like; must exist.
        master: Spark's master URL; by default a failed task is tried again, as on a cluster and unlike `local[*]`.
        archive: of the JVM's classes, where there is one.
    """
    java = f'"-Djava.io.tmpdir={scratch}" {QUICK_JVM}'
    if archive:
        java += f' {WITHOUT_A_WORD} "-XX:SharedArchiveFile={archive}"'
    settings = {
        "spark.master": master,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(scratch),
        "spark.driver.defaultJavaOptions": java,
        "spark.sql.warehouse.dir": f"file://{quote(str(scratch / 'warehouse'))}",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        "spark.hadoop.fs.viewfs.overload.scheme.target.s3.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    }
    for bucket in sorted(folder for folder in s3_folder.resolve().iterdir() if folder.is_dir()):
        settings[f"spark.hadoop.fs.viewfs.mounttable.{bucket.name}.linkFallback"] = f"s3://{quote(str(bucket))}"
    return settings


def write_spark_conf(folder: Path, settings: dict[str, str]) -> Path:
    """Write `spark-defaults.conf` and `log4j2.properties` into a folder to be named by `SPARK_CONF_DIR`.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{key} {value}\n" for key, value in settings.items()]
    (folder / "spark-defaults.conf").write_text("".join(lines), encoding="utf-8")
    (folder / "log4j2.properties").write_text(LOG4J2, encoding="utf-8")
    return folder
