"""Describing with Spark: how the inventory is spread over the cluster, and where the outcome is kept.

Wiring only; what happens to an image is `worker`'s.
"""

import math

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from fruits_features.schemas import INVENTORY, QUARANTINE, staged_columns
from fruits_features.tables import spark_schema
from fruits_features.worker import Task

IMAGES_PER_PARTITION = 50_000
"""At most; a Python worker costs about a second to start and a task 0.2 s, so partitions are few and large."""


def read_inventory(spark: SparkSession, path: str) -> DataFrame:
    """Read the inventory: one row an object."""
    return spark.read.schema(spark_schema(INVENTORY)).parquet(path)


def spread(inventory: DataFrame, images: int, cores: int) -> DataFrame:
    """Spread the inventory over the cluster, in the order in which the features are written."""
    partitions = max(1, min(images, cores), math.ceil(images / IMAGES_PER_PARTITION))
    return inventory.repartitionByRange(partitions, "category", "key").sortWithinPartitions("category", "key")


def stage(inventory: DataFrame, task: Task, path: str) -> DataFrame:
    """Describe every inventoried image and keep the outcome, described or rejected, below a path.

    The outcome is kept, not cached: the reduction needs it twice, and a lost executor must not fetch the images again.
    """
    schema = spark_schema(staged_columns(include_pixels=task.include_pixels))
    described = inventory.mapInArrow(task.describe_batches, schema)
    described.write.mode("overwrite").option("compression", "lz4_raw").parquet(path)
    return inventory.sparkSession.read.schema(schema).parquet(path)


def accepted(staged: DataFrame) -> DataFrame:
    """Keep the described images."""
    return staged.where(sf.col("reason").isNull())


def rejected(staged: DataFrame) -> DataFrame:
    """Keep the rejected images, with the columns of the quarantine.

    None of these is ever null, but what Spark reads back from files it takes for nullable; only a default, never used,
    tells it otherwise.
    """
    never_null = [
        sf.coalesce(field.name, sf.lit(0 if field.name == "size" else "")).cast(field.dataType).alias(field.name)
        for field in spark_schema(QUARANTINE)
    ]
    return staged.where(sf.col("reason").isNotNull()).select(*never_null)


def write_quarantine(quarantine: DataFrame, path: str) -> None:
    """Write the quarantine, sorted by path; a file even when nothing was rejected, so that it can be read."""
    one_file = quarantine.coalesce(1).sortWithinPartitions("path")
    one_file.write.mode("overwrite").option("compression", "zstd").parquet(path)
