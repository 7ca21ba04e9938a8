"""Spark's own reader of whole files, `binaryFile`, and a pandas UDF with the application's OpenCV work.

Reads the files that the S3 server serves from the disk, and writes to the disk: Hadoop's S3 connector does not come
with Spark. That is to its advantage.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf

from benchmarks.speed.candidates.batches import count_rows, describe
from benchmarks.speed.candidates.spark import sql_session
from benchmarks.speed.task import Done, Task

TYPE = "width int, height int, keypoints int, descriptors binary, features array<float>"


def session(task: Task) -> AbstractContextManager[Callable[[], Done]]:
    """Start Spark SQL."""
    return sql_session(task, _work)


def _work(spark: SparkSession, task: Task) -> Done:
    def described(content: pd.Series) -> pd.DataFrame:
        return pd.DataFrame({name: array.to_pandas() for name, array in describe(content).items()})

    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(f"{task.folder}/images")
    output = f"{task.output}/features"
    frame = files.select("path", pandas_udf(described, TYPE)("content").alias("described"))
    frame.select("path", "described.*").write.mode("overwrite").parquet(output)
    return Done(count_rows(output))
