"""Candidate and upper limit of the family `onnx`: one plain process per core that only embeds images with onnxruntime.

It fetches and decodes in threads of its own, one batch ahead, and writes the embeddings. It uses none of the
application's functions but its S3 client and its list of images, and the same number of images per call.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from obstore.store import ObjectStore

from benchmarks.speed.candidates.plain import processes
from benchmarks.speed.task import Done, Task
from fruits_features.extraction.families.onnx import BATCH_IMAGES, SMALL_BATCH_IMAGES
from fruits_features.io.fetcher import IMAGE_RETRIES
from fruits_features.io.object_store import open_bucket
from fruits_features.job.inventory import Inventory


@contextmanager
def session(task: Task) -> Iterator[Callable[[], Done]]:
    """Create a pool for the jobs."""
    with processes(task.cores) as pool:
        yield lambda: _work(pool, task)


def _work(pool: ProcessPoolExecutor, task: Task) -> Done:
    keys = Inventory.of(task.inventory).read()["key"].to_pylist()
    parts = [keys[core :: task.cores] for core in range(task.cores)]
    return Done(sum(pool.map(partial(_embed, task), range(task.cores), parts)))


def _embed(task: Task, number: int, keys: list[str]) -> int:
    """Embed the images of some keys, write a file and return the number of rows."""
    cv2.setNumThreads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnxruntime.InferenceSession(task.model, options, providers=["CPUExecutionProvider"])
    (source,) = model.get_inputs()
    size = (source.shape[2], source.shape[1])
    store = open_bucket(task.bucket, IMAGE_RETRIES)
    batches = [keys[start : start + BATCH_IMAGES] for start in range(0, len(keys), BATCH_IMAGES)]
    rows: list[NDArray[np.float32]] = []
    with ThreadPoolExecutor(BATCH_IMAGES) as threads:
        ahead = [threads.submit(_read, store, key, size) for key in batches[0]]
        for batch in [*batches[1:], []]:
            images, ahead = ahead, [threads.submit(_read, store, key, size) for key in batch]
            pixels = np.stack([image.result() for image in images])
            for start in range(0, len(pixels), SMALL_BATCH_IMAGES):
                rows += list(model.run(None, {source.name: pixels[start : start + SMALL_BATCH_IMAGES]})[0])
    table = pa.table({"key": keys, "features": pa.array(rows, pa.list_(pa.float32()))})
    pq.write_table(table, Path(task.output) / f"part-{number}.parquet")
    return len(rows)


def _read(store: ObjectStore, key: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    data = np.frombuffer(bytes(store.get(key).bytes()), np.uint8)
    image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
    return np.asarray(cv2.resize(image, size), np.uint8)
