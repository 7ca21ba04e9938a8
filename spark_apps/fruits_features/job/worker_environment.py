"""The environment that a process wants in which images are described: one of Spark's workers, or a plain one.

Apart from `context`, so that who has no Spark can use it.
"""

WORKER_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(2**20),
    "TOKIO_WORKER_THREADS": "1",
}
"""Processes that go from task to task give large blocks back as soon as these are free (glibc, "Malloc Tunable
Parameters"). 90,380 images took 809 to 944 MB a worker without, 568 to 613 with, in the same time.

And one thread for obstore's own runtime (Tokio's variable): a worker has one core, and with two an object of 5 KB took
210 to 250 microseconds of CPU to fetch where it takes 180."""
