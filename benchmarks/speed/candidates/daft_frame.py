"""Daft: its own download of an inventory's objects, the application's OpenCV work on batches, Parquet on the disk."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import daft
import pyarrow as pa
from daft.functions import download
from daft.io import IOConfig, S3Config

from benchmarks.speed.candidates.batches import COLUMNS, count_rows, describe
from benchmarks.speed.task import Done, Task

IN_FLIGHT = 64
"""As many requests at once as the application makes."""

_TYPE = daft.DataType.from_arrow_type(pa.struct(list(COLUMNS.items())))


@daft.func.batch(return_dtype=_TYPE)
def _describe(images: daft.Series) -> pa.Array:
    found = describe(images.to_pylist())
    return pa.StructArray.from_arrays(list(found.values()), names=list(found))


@contextmanager
def session(task: Task) -> Iterator[Callable[[], Done]]:
    """Choose Daft's own runner, which needs no start."""
    daft.set_runner_native(num_threads=task.cores)
    yield lambda: _work(task)


def _work(task: Task) -> Done:
    output = f"{task.output}/features"
    shutil.rmtree(output, ignore_errors=True)
    s3 = IOConfig(s3=S3Config(endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"], use_ssl=False, max_connections=IN_FLIGHT))
    images = daft.read_parquet(f"{task.inventory}/*.parquet")
    content = download(daft.lit(f"s3://{task.bucket}/") + images["key"], max_connections=IN_FLIGHT, io_config=s3)
    images.select("key", _describe(content).alias("described")).write_parquet(output)
    return Done(count_rows(output))
