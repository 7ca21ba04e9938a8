"""A job on a real master with two workers, from `include/spark_cluster.py`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from include.spark_cluster import SparkClusterError, StandaloneCluster, write_driver_conf

if TYPE_CHECKING:
    from include.local_aws.local import LocalAws

JOB = Path(__file__).parent / "standalone_job.py"


def test_cluster_runs_a_job_on_two_executors_and_is_gone_after_stop(
    local_aws: LocalAws, spark_cluster: StandaloneCluster, tmp_path: Path
) -> None:
    s3, bucket = local_aws.s3(), local_aws.create_bucket("standalone-cluster")
    s3.put_object(Bucket=bucket, Key="in/crème brûlée.txt", Body=b"one\ntwo\nthree\n")
    conf = write_driver_conf(tmp_path / "conf", local_aws.s3_folder, master=spark_cluster.url)
    environment = os.environ | {"SPARK_CONF_DIR": str(conf), "LC_ALL": "C.UTF-8"}
    java = [child for child in psutil.Process().children(recursive=True) if child.name() == "java"]
    assert len(java) >= 3
    ready = ["--conf", "spark.scheduler.minRegisteredResourcesRatio=1.0"]

    submitted = subprocess.run(
        ["spark-submit", *ready, str(JOB), f"s3://{bucket}/in/", f"s3://{bucket}/out/"],  # noqa: S607
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert submitted.returncode == 0, submitted.stderr[-4000:]
    assert json.loads(submitted.stdout.splitlines()[-1]) == {
        "executors": 2,
        "endpoints": [local_aws.environment["AWS_ENDPOINT_URL_S3"]],
        "rows": 3,
    }
    assert [app["name"] for app in spark_cluster.status()["completedapps"]] == ["standalone job"]
    written = s3.list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]
    assert [item["Key"] for item in written if item["Key"].endswith(".parquet")]
    assert not [item["Key"] for item in written if item["Key"].endswith(".crc")]

    spark_cluster.stop()

    assert not [
        process for process in java if process.is_running() and spark_cluster.url in " ".join(process.cmdline())
    ]
    with pytest.raises(OSError, match="refused"):
        spark_cluster.status()


def test_cluster_without_java_names_the_logs_and_leaves_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"JAVA_HOME": str(tmp_path / "nowhere")}

    with (
        pytest.raises(SparkClusterError, match=r"did not come up: .*\*\.log"),
        StandaloneCluster(tmp_path, environment),
    ):
        pass

    assert "java" in (tmp_path / "master.log").read_text()
