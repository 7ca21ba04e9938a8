"""Local Spark of the candidates that use one, with default settings except those for a machine without a network."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark import SparkConf
from pyspark.sql import SparkSession

from benchmarks.speed.task import Done, Task


def conf(task: Task) -> SparkConf:
    """Return the settings of a local Spark with one worker process per core."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": f"{task.output}/scratch",
        "spark.sql.warehouse.dir": f"{task.output}/warehouse",
    }
    return SparkConf().setMaster(f"local[{task.cores}]").setAppName("speed").setAll(list(settings.items()))


@contextmanager
def sql_session(task: Task, work: Callable[[SparkSession, Task], Done]) -> Iterator[Callable[[], Done]]:
    """Start Spark SQL and yield a function that runs `work` in it."""
    spark = SparkSession.builder.config(conf=conf(task)).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    yield lambda: work(spark, task)
    spark.stop()
