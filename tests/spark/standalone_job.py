"""Submitted by test_standalone_cluster.py: copies a text file within `s3://`, and says who did the work."""

import json
import os
import sys

from pyspark.sql import SparkSession


def main(source: str, target: str) -> None:
    spark = SparkSession.builder.appName("standalone job").getOrCreate()
    context = spark.sparkContext
    endpoints = context.parallelize(range(4), 4).map(lambda _: os.environ["AWS_ENDPOINT_URL_S3"]).distinct().collect()
    spark.read.text(source).write.parquet(target)
    executors = context._jsc.sc().getExecutorMemoryStatus().size() - 1  # noqa: SLF001 - PySpark tells it nowhere else
    rows = spark.read.parquet(target).count()
    print(json.dumps({"executors": executors, "endpoints": endpoints, "rows": rows}))  # noqa: T201 - what it is for
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
