"""Candidate: Spark's file source `binaryFile`, and a pandas UDF with the application's extraction.

It reads the S3 server's files from disk and writes to disk, because Spark's distribution lacks Hadoop's S3 connector.
This is an advantage for this candidate.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf  # type: ignore[attr-defined] # exists, but is not typed

from benchmarks.speed.candidates.batches import count_rows, extract
from benchmarks.speed.candidates.spark import sql_session
from benchmarks.speed.task import Done, Task

TYPE = "width int, height int, keypoints int, descriptors binary, features array<float>"


def session(task: Task) -> AbstractContextManager[Callable[[], Done]]:
    """Start Spark SQL."""
    return sql_session(task, _work)


def _work(spark: SparkSession, task: Task) -> Done:
    def extracted(content: pd.Series) -> pd.DataFrame:
        return pd.DataFrame({name: array.to_pandas() for name, array in extract(content).items()})

    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(f"{task.folder}/images")
    output = f"{task.output}/features"
    frame = files.select("path", pandas_udf(extracted, TYPE)("content").alias("extracted"))
    frame.select("path", "extracted.*").write.mode("overwrite").parquet(output)
    return Done(count_rows(output))
