"""Environment variables of processes that extract features. Does not need Spark."""

WORKER_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(2**20),
    "TOKIO_WORKER_THREADS": "1",
}
"""Variables for Spark's workers.

- The `MALLOC_` variables make glibc return large blocks to the system as soon as they are freed. This lowers the memory
  of a worker (glibc manual, "Malloc Tunable Parameters").
- `TOKIO_WORKER_THREADS` limits obstore's runtime to one thread. A worker has one core, so a second thread only costs
  CPU time.

docs/measurements/constants.md has the figures for both.
"""
