"""Spark's context as the application wants it: with an environment for the workers, and stopped without waiting.

Light, so that Spark starts while the rest of the application is loaded.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from py4j.protocol import Py4JError
from pyspark import SparkContext

WORKER_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(2**20),
    "TOKIO_WORKER_THREADS": "1",
}
"""For the Python workers, which go from task to task: they give large blocks back as soon as these are free (glibc,
"Malloc Tunable Parameters"). 90,380 images took 809 to 944 MB a worker without, 568 to 613 with, in the same time.

And one thread for obstore's own runtime (Tokio's variable): a worker has one core, and with two an object of 5 KB took
210 to 250 microseconds of CPU to fetch where it takes 180."""


@contextmanager
def started(run: str) -> Iterator[SparkContext]:
    """Start Spark for a run, and stop what of it is in the JVM.

    PySpark's own `stop` then waits up to a second for its server of accumulators, which ends with this process anyway.
    """
    context = SparkContext(appName=f"fruits_features {run}", environment=WORKER_ENVIRONMENT)
    try:
        yield context
    finally:
        with suppress(Py4JError):  # a JVM that has died
            context._jsc.stop()  # noqa: SLF001
