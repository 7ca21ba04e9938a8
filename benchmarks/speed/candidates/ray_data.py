"""Candidate: Ray Data's reader of the objects, the application's extraction of batches, and Parquet on disk.

The reader requests the size of each object first. With a folder instead of the inventory it would not need to.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from pyarrow.fs import S3FileSystem

from benchmarks.speed.candidates.batches import count_rows, extract
from benchmarks.speed.task import Done, Task


@contextmanager
def session(task: Task) -> Iterator[Callable[[], Done]]:
    """Start Ray on this machine."""
    ray.init(num_cpus=task.cores, include_dashboard=False, log_to_driver=False)
    yield lambda: _work(task)
    ray.shutdown()


def _work(task: Task) -> Done:
    output = f"{task.output}/features"
    shutil.rmtree(output, ignore_errors=True)
    s3 = S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL_S3"], region=os.environ["AWS_REGION"])
    keys = pq.read_table(task.inventory, columns=["key"])["key"].to_pylist()
    images = ray.data.read_binary_files([f"{task.bucket}/{key}" for key in keys], filesystem=s3, include_paths=True)
    images.map_batches(_extract, batch_format="pyarrow").write_parquet(output)
    return Done(count_rows(output))


def _extract(batch: pa.Table) -> pa.Table:
    return pa.table({"path": batch["path"], **extract(batch["bytes"].to_pylist())})
