"""Starts and stops Spark's context.

Imports little, so that Spark starts while the rest of the application is imported.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from py4j.protocol import Py4JError
from pyspark import SparkContext

from fruits_features.imaging.limits import opencv_environment
from fruits_features.job.worker_environment import WORKER_ENVIRONMENT


@contextmanager
def running_context(run: str, region: str | None, max_pixels: int) -> Iterator[SparkContext]:
    """Start Spark for a run, and stop its JVM part on exit.

    Workers get the bucket's region as a variable for obstore, because a cluster may not know it. They get the limit of
    pixels as a variable for OpenCV.

    PySpark's own `stop` waits up to a second for its accumulator server, which ends with this process anyway.
    """
    environment = WORKER_ENVIRONMENT | opencv_environment(max_pixels) | ({"AWS_REGION": region} if region else {})
    context = SparkContext(appName=f"fruits_features {run}", environment=environment)
    try:
        yield context
    finally:
        with suppress(Py4JError):  # the JVM has exited
            context._jsc.stop()  # noqa: SLF001 - PySpark has no public access to its JVM
