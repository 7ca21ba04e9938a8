"""Candidate and upper limit: one plain process per core with the application's functions to fetch, extract and write.

It uses no Spark and does not fit or apply a PCA.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import pyarrow as pa

from benchmarks.speed.task import Done, Task
from fruits_features.contract.arguments import Arguments
from fruits_features.extraction.batches import BatchExtractor
from fruits_features.io import arrow
from fruits_features.job.inventory import Inventory, partition
from fruits_features.job.worker_environment import WORKER_ENVIRONMENT
from fruits_features.output.features_writer import file_metadata, write_parquet
from fruits_features.schemas import arrow_schema, extractor_columns


@contextmanager
def session(task: Task) -> Iterator[Callable[[], Done]]:
    """Create a pool for the jobs."""
    with processes(task.cores) as pool:
        yield lambda: _work(pool, task)


def processes(cores: int) -> ProcessPoolExecutor:
    """Return a pool with the environment of the application's workers. Its processes start with the first job."""
    os.environ.update(WORKER_ENVIRONMENT)
    return ProcessPoolExecutor(cores, mp_context=get_context("spawn"))


def _work(pool: ProcessPoolExecutor, task: Task) -> Done:
    parts = [arrow.to_bytes(part) for part in partition(Inventory.of(task.inventory).read(), task.cores)]
    return Done(sum(pool.map(partial(_extract, task), range(len(parts)), parts)))


def _extract(task: Task, number: int, inventory: bytes) -> int:
    """Extract a part of the inventory, write a file and return the number of rows."""
    arguments = Arguments(bucket=task.bucket, inventory=task.inventory, output=f"s3://{task.bucket}/plain", run="plain")
    worker = BatchExtractor(
        bucket=task.bucket,
        families=arguments.features,
        max_bytes=arguments.max_image_bytes,
        max_pixels=arguments.max_image_pixels,
        include_pixels=False,
    )
    extracted = (pa.Table.from_batches([chunk.extracted]) for chunk in worker.extract(arrow.from_bytes(inventory)))
    schema = arrow_schema(extractor_columns(include_pixels=False))
    return write_parquet(
        arguments.output, f"part-{number:05}.parquet", schema, extracted, file_metadata(arguments)
    ).rows
