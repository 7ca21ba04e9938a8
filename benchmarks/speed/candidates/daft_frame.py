"""Candidate: Daft's download of the objects, the application's extraction of batches, and Parquet on disk."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import daft
import pyarrow as pa
from daft.functions import download
from daft.io import IOConfig, S3Config

from benchmarks.speed.candidates.batches import COLUMNS, count_rows, extract
from benchmarks.speed.task import Done, Task

IN_FLIGHT = 64
"""Concurrent requests, as many as the application's."""

_TYPE = daft.DataType.from_arrow_type(pa.struct(list(COLUMNS.items())))


@daft.func.batch(return_dtype=_TYPE)  # type: ignore[untyped-decorator]
def _extract(images: daft.Series) -> pa.Array:
    columns = extract(images.to_pylist())
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


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
    images.select("key", _extract(content).alias("extracted")).write_parquet(output)
    return Done(count_rows(output))
