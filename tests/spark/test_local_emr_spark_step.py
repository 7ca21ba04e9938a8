"""A real Spark step on the local EMR: the application comes from S3, reads S3 and writes S3."""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

APPLICATION = """
import sys
from pyspark.sql import SparkSession
from stepmodule import NAME

spark = SparkSession.builder.getOrCreate()
source, target = sys.argv[1:]
rows = spark.read.text(source).withColumnRenamed("value", NAME)
for _ in range(2):  # the second time over what is there
    rows.coalesce(1).write.mode("overwrite").parquet(target)
print("read back", spark.read.parquet(target).count())
"""


def test_spark_step_from_s3_writes_parquet_that_boto3_reads(local_aws: LocalAws, bucket: str) -> None:
    s3, emr = local_aws.s3(), local_aws.emr()
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("stepmodule/__init__.py", "NAME = 'fruit'\n")
    s3.put_object(Bucket=bucket, Key="artifacts/stepmodule.zip", Body=package.getvalue())
    s3.put_object(Bucket=bucket, Key="artifacts/launch.py", Body=APPLICATION.encode())
    s3.put_object(Bucket=bucket, Key="in/Ä b#%+.txt", Body="pomme\npêche\n".encode())
    root = f"s3://{bucket}"
    command = ["spark-submit", "--deploy-mode", "client", "--py-files", f"{root}/artifacts/stepmodule.zip"]
    command += [f"{root}/artifacts/launch.py", f"{root}/in/", f"{root}/out é#%+/t"]
    cluster = emr.run_job_flow(
        Name="spark",
        LogUri=f"{root}/logs/",
        Instances={"KeepJobFlowAliveWhenNoSteps": False},
        Steps=[{"Name": "spark", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": command}}],
    )["JobFlowId"]
    wait_for(lambda: cluster not in local_aws.active_clusters(), within_s=900.0, pause_s=0.5)
    (step,) = emr.list_steps(ClusterId=cluster)["Steps"]
    stderr = gzip.decompress(
        s3.get_object(Bucket=bucket, Key=f"logs/{cluster}/steps/{step['Id']}/stderr.gz")["Body"].read()
    ).decode()
    assert step["Status"]["State"] == "COMPLETED", stderr[-4000:]
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="out é#%+/")["Contents"]]
    assert not [key for key in keys if key.endswith(".crc") or "_temporary" in key]
    (part,) = [key for key in keys if key.endswith(".parquet")]
    table = pq.read_table(io.BytesIO(s3.get_object(Bucket=bucket, Key=part)["Body"].read()))
    assert table.to_pydict() == {"fruit": ["pomme", "pêche"]}
    assert list((local_aws.state.clusters / cluster / "tmp").iterdir()) == []
