"""This application: whole runs, PCA and both kinds of files included, from the archive that a cluster is given."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkContext

import fruits_features
from benchmarks.speed.candidates.spark import conf
from benchmarks.speed.task import Task
from fruits_features import job
from fruits_features.arguments import Arguments
from fruits_features.context import WORKER_ENVIRONMENT
from include.local_aws.spark_conf import QUICK_JVM


@contextmanager
def session(task: Task) -> Iterator[Callable[[], int]]:
    """Start Spark as `python -m fruits_features` does."""
    package = Path(fruits_features.__path__[0])
    archive = shutil.make_archive(f"{task.output}/fruits_features", "zip", package.parent, package.name)
    arguments = Arguments(bucket=task.bucket, inventory=task.inventory, output=f"s3://{task.bucket}/app", run="app")
    quick = conf(task).set("spark.driver.defaultJavaOptions", QUICK_JVM)  # as local AWS gives it to every step
    with SparkContext(conf=quick, pyFiles=[archive], environment=WORKER_ENVIRONMENT) as context:
        context.setLogLevel("ERROR")
        yield lambda: job.run(lambda: context, arguments).described
