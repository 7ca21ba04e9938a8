"""Spark's context as the application wants it: with an environment for the workers, and stopped without waiting.

Light, so that Spark starts while the rest of the application is loaded.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from py4j.protocol import Py4JError
from pyspark import SparkContext

from fruits_features.job.worker_environment import WORKER_ENVIRONMENT


@contextmanager
def running_context(run: str) -> Iterator[SparkContext]:
    """Start Spark for a run, and stop what of it is in the JVM.

    PySpark's own `stop` then waits up to a second for its server of accumulators, which ends with this process anyway.
    """
    context = SparkContext(appName=f"fruits_features {run}", environment=WORKER_ENVIRONMENT)
    try:
        yield context
    finally:
        with suppress(Py4JError):  # a JVM that has died
            context._jsc.stop()  # noqa: SLF001
