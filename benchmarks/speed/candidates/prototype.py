"""Candidate: the prototype's notebook with three Python UDFs, two of which use boto3 and one creates an ORB per call.

Rows pass through the JVM. Each call creates a client, since boto3's clients cannot be pickled. The Parquet is copied to
S3 at the end.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from pyspark.sql.functions import udf
from pyspark.sql.types import ArrayType, IntegerType, StringType

from benchmarks.speed.candidates.batches import count_rows
from benchmarks.speed.candidates.spark import sql_session
from benchmarks.speed.task import Done, Task

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client() -> "S3Client":
    """Create an S3 client."""
    return boto3.client("s3")


def session(task: Task, s3: Callable[[], "S3Client"] = client) -> AbstractContextManager[Callable[[], Done]]:
    """Start Spark SQL. Each call of a UDF that needs S3 calls `s3` for a client."""
    return sql_session(task, partial(_work, s3))


def _work(s3: Callable[[], "S3Client"], spark: SparkSession, task: Task) -> Done:
    category = udf(lambda key: key.split("/")[-2], StringType())
    image = udf(lambda key: _image(s3(), task.bucket, key).ravel().tolist(), ArrayType(IntegerType()))
    descriptors = udf(lambda key: _descriptors(_image(s3(), task.bucket, key)), ArrayType(ArrayType(IntegerType())))
    keys = pq.read_table(task.inventory, columns=["key"])["key"].to_pylist()
    frame = spark.createDataFrame([(key,) for key in keys], ["path"])
    frame = frame.withColumn("category", category("path")).withColumn("image", image("path"))
    output = f"{task.output}/features"
    frame.withColumn("descriptors", descriptors("path")).write.mode("overwrite").parquet(output)
    for file in Path(output).glob("*.parquet"):
        s3().upload_file(str(file), task.bucket, f"prototype/{file.name}")
    return Done(count_rows(output))


def _image(s3: "S3Client", bucket: str, key: str) -> NDArray[np.uint8]:
    data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _descriptors(image: NDArray[np.uint8]) -> list[list[int]]:
    _, descriptors = cv2.ORB.create().detectAndCompute(image, None)
    rows: list[list[int]] = [] if descriptors is None else descriptors.tolist()
    return rows
