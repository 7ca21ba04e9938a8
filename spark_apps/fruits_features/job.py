"""The job: read, describe, account, reduce, write."""

import logging
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as sf

from fruits_features import spark_model, storage
from fruits_features.arguments import Arguments
from fruits_features.describe import accepted, read_inventory, rejected, spread, stage, write_quarantine
from fruits_features.layout import RunLayout
from fruits_features.reduce import fit_projection, write_features
from fruits_features.worker import Task

_log = logging.getLogger(__name__)


class JobError(Exception):
    """The run cannot be completed; the message is the sentence that people read."""


@dataclass(frozen=True)
class Outcome:
    """What came out of a run.

    Args:
        inventoried: how many objects the inventory lists.
        described: how many of them are rows of `features/`.
        quarantined: how many of them are rows of `quarantine/`.
        k: how many components there are.
        explained_variance: their share of the variance together.
    """

    inventoried: int
    described: int
    quarantined: int
    k: int
    explained_variance: float


def run(spark: SparkSession, arguments: Arguments) -> Outcome:
    """Describe and reduce every inventoried image.

    Raises:
        JobError: when the run cannot be completed as asked.
        ReductionError: when the images are too few or too alike for what was asked.
    """
    layout = RunLayout(arguments.output)
    inventory = read_inventory(spark, arguments.inventory)
    inventoried = inventory.count()
    if not inventoried:
        raise JobError(
            f"The inventory {arguments.inventory} lists no object; upload images, or check the image prefix."
        )
    work = spread(inventory, inventoried, spark.sparkContext.defaultParallelism)
    staged = stage(work, _task(arguments), layout.staging)

    write_quarantine(rejected(staged), layout.quarantine)
    _check_quarantine(spark, layout, inventoried, arguments.max_quarantine_share)

    projection = fit_projection(accepted(staged), arguments)
    write_features(accepted(staged), projection, layout.features, include_pixels=arguments.include_pixels)
    storage.write_bytes(layout.portable_projection, projection.to_bytes())
    spark_model.save(spark, projection, layout.spark_model)

    described, quarantined = (spark.read.parquet(path).count() for path in (layout.features, layout.quarantine))
    if described + quarantined != inventoried:
        raise JobError(
            f"{inventoried} objects were inventoried, but {described} rows of features and {quarantined} of quarantine "
            "were written; something else wrote below this run's prefix: run it again."
        )
    _remove(spark, layout.staging)
    return Outcome(inventoried, described, quarantined, projection.k, float(projection.explained_variance.sum()))


def _task(arguments: Arguments) -> Task:
    return Task(
        bucket=arguments.bucket,
        families=arguments.features,
        max_bytes=arguments.max_image_bytes,
        max_pixels=arguments.max_image_pixels,
        include_pixels=arguments.include_pixels,
    )


def _check_quarantine(spark: SparkSession, layout: RunLayout, inventoried: int, max_share: float) -> None:
    """Refuse to go on when too much was quarantined, telling the counts by reason."""
    by_reason = (
        spark.read.parquet(layout.quarantine).groupBy("reason").count().orderBy(sf.desc("count"), "reason").collect()
    )
    quarantined = sum(row["count"] for row in by_reason)
    counts = ", ".join(f"{row['reason']}: {row['count']}" for row in by_reason)
    if quarantined:
        _log.warning("%d of %d images quarantined (%s); see %s", quarantined, inventoried, counts, layout.quarantine)
    if quarantined == inventoried:
        raise JobError(f"All {inventoried} images were quarantined ({counts}); see {layout.quarantine}.")
    if quarantined > max_share * inventoried:
        raise JobError(
            f"{quarantined} of {inventoried} images were quarantined ({counts}), more than the share of {max_share:g} "
            f"that --max-quarantine-share allows; see {layout.quarantine}, mend the images or raise the share."
        )


def _remove(spark: SparkSession, path: str) -> None:
    """Remove a folder, wherever Spark can write."""
    context: Any = spark.sparkContext  # PySpark has no public way to Hadoop's file systems
    folder = context._jvm.org.apache.hadoop.fs.Path(path)  # noqa: SLF001
    recursive = True
    folder.getFileSystem(context._jsc.hadoopConfiguration()).delete(folder, recursive)  # noqa: SLF001
