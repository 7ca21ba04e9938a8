"""Files that `spark-submit` reads on the primary node of a cluster on EMR: programs, settings, and S3A behind `s3://`.

EMR's settings of the node come from this module, those of the cluster from the request that the DAG sends. On
`emr-spark-8.x`, `s3://` is S3A (release notes of EMR Spark 8.0.0).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.dev.local_aws.node.spark_conf import write_spark_conf
from include.emr.requests import PYTHON
from tests.support.hadoop.jars import hadoop_jars
from tests.support.hadoop.yarn import LOCALHOST, PYSPARK, write_site

if TYPE_CHECKING:
    from collections.abc import Mapping

SPARK = {
    "spark.ui.enabled": "false",
    "spark.driver.host": LOCALHOST,
    "spark.driver.bindAddress": LOCALHOST,
    "spark.yarn.jars": f"local:{PYSPARK}/jars/*",
    "spark.yarn.appMasterEnv.SPARK_HOME": str(PYSPARK),
}


def classification(request: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the properties of one classification of a RunJobFlow request; none where the request lacks it."""
    return next((one["Properties"] for one in request["Configurations"] if one["Classification"] == name), {})


class PrimaryNode:
    """Programs, settings and environment of a node.

    Args:
        folder: For all files of the node.
        aws: Variables by which AWS's libraries find S3.

    Attributes:
        environment: Of the node's programs, made from nothing: a node knows no checkout.
    """

    def __init__(self, folder: Path, aws: Mapping[str, str]) -> None:
        self.folder = folder
        self._endpoint = aws["AWS_ENDPOINT_URL_S3"]
        programs = (
            self._programs(),
            Path(sys.executable).parent,
            *os.environ.get("PATH", os.defpath).split(os.pathsep),
        )
        kept = {name: os.environ[name] for name in ("HOME", "USER", "JAVA_HOME") if name in os.environ}
        self.environment = {
            **kept,
            "PATH": os.pathsep.join(map(str, programs)),
            "LC_ALL": "C.UTF-8",
            "SPARK_LOCAL_IP": LOCALHOST,
            **{name: value for name, value in aws.items() if name != "AWS_REGION"},
        }

    def submit(
        self, command: list[str], spark: Mapping[str, str], hadoop: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a step's command; its output goes to the files `stdout` and `stderr` of the folder.

        Args:
            command: `spark-submit` and its arguments.
            spark: Settings of the cluster.
            hadoop: Content of `yarn-site.xml`.
        """
        hadoop_conf, step = self.folder / "hadoop-conf", self.folder / "step"
        write_site(hadoop_conf / "yarn-site.xml", hadoop)
        write_site(hadoop_conf / "core-site.xml", self._core_site())
        staging = {"spark.yarn.stagingDir": f"file://{self.folder}/staging"}  # on EMR it is in HDFS
        classes = {"spark.driver.extraClassPath": f"{hadoop_jars('s3a')}/*"}
        conf = write_spark_conf(self.folder / "spark-conf", SPARK | staging | classes | dict(spark))
        step.mkdir()
        with (self.folder / "stdout").open("wb") as stdout, (self.folder / "stderr").open("wb") as stderr:
            return subprocess.Popen(
                command,
                cwd=step,
                env=self.environment | {"SPARK_CONF_DIR": str(conf), "HADOOP_CONF_DIR": str(hadoop_conf)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    def stderr(self) -> str:
        """Return what the step has written to stderr."""
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def _core_site(self) -> dict[str, str]:
        return {
            "fs.defaultFS": "file:///",
            "fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
            "fs.s3a.endpoint": self._endpoint,
            "fs.s3a.path.style.access": "true",
            "fs.s3a.connection.ssl.enabled": "false",
        }

    def _programs(self) -> Path:
        """Make the node's Python: a script, since a link would start the interpreter without its environment."""
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        script = programs / PYTHON
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return programs
