"""Rows of the inventory to features and rejections, as Arrow batches.

Does not know Spark: the same generator runs in a test or in a plain process.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures, add_embeddings
from fruits_features.extraction.families.onnx import BATCH_IMAGES, Embedder, GuardedModel, Weights, call_model
from fruits_features.extraction.families.onnx import DEADLINE_S as MODEL_DEADLINE_S
from fruits_features.extraction.subprocess_pool import Failure, InProcess, Pool, SubprocessPool
from fruits_features.imaging.limits import DEADLINE_S, opencv_environment
from fruits_features.io.fetcher import IMAGE_RETRIES, FetchedObject, Fetcher, ObjectRef
from fruits_features.io.object_store import open_bucket
from fruits_features.io.prefetch import prefetch_map
from fruits_features.io.vectors import as_array, pack_arrays
from fruits_features.schemas import REJECTED, arrow_schema, extractor_columns

CHUNK_IMAGES = 256
"""Images fetched together while the chunk before is processed."""

CHUNK_BYTES = 16 * 1024 * 1024
"""Encoded bytes per chunk: large images make smaller chunks."""

CHUNKS_AHEAD = 2
"""Chunks fetched in advance. With only one, fewer requests are in flight at the end of each chunk."""

DECODED_BYTES = 128 * 1024 * 1024
"""Decoded bytes per chunk, if the pixels are kept. A larger chunk is divided. A larger image is a chunk of its own, so
that large images take turns: the memory of a worker holds one of them while the next one is decoded."""

_FAILURES = {
    Failure.CRASHED: Rejected(
        Stage.DECODE, Reason.DECODER_CRASH, "Decoding crashed the worker, and again in a fresh process."
    ),
    Failure.TIMED_OUT: Rejected(Stage.DECODE, Reason.DECODER_TIMEOUT, f"Decoding took longer than {DEADLINE_S:g} s."),
}

_A = TypeVar("_A")
_T = TypeVar("_T")
_ExtractorPool = Pool[bytes | Rejected, ImageFeatures | Rejected]


class Chunk(NamedTuple):
    """The outcome of consecutive rows of the inventory: each row is in one of the two batches."""

    extracted: pa.RecordBatch
    rejected: pa.RecordBatch


@dataclass(frozen=True)
class BatchExtractor:
    """Fetches the images of inventory rows and extracts their features.

    Args:
        bucket: Name of the bucket that holds the images.
        families: Names of the families, in the order of their features.
        max_bytes: Largest object in bytes; larger ones are rejected without being fetched.
        max_pixels: Largest image in pixels; larger ones are rejected without being decoded.
        include_pixels: Whether the batches contain the decoded pixels.
        model: Model of the family `onnx`, or `None` without that family.
        isolated: Whether images are decoded in a child process, so that one that crashes it is rejected alone. Slower;
            for rows that have crashed a worker before, and for processes that must not crash.
    """

    bucket: str
    families: tuple[str, ...]
    max_bytes: int
    max_pixels: int
    include_pixels: bool
    model: Weights | None = None
    isolated: bool = False

    def extract(self, inventory: pa.Table) -> Iterator[Chunk]:
        """Yield the outcomes of inventory rows in their order. The next chunks are fetched meanwhile."""
        chunks = list(_chunks(inventory))
        with ExitStack() as stack:
            fetcher = stack.enter_context(closing(Fetcher(open_bucket(self.bucket, IMAGE_RETRIES), self.max_bytes)))
            model = self._open_model(stack)
            extractor = ImageExtractor(
                self.families, self.max_pixels, self.include_pixels, model.size if model else None
            )
            pool = stack.enter_context(self._pool(extractor.extract, DEADLINE_S))
            fetched_chunks = prefetch_map(partial(_fetch, fetcher), chunks, CHUNKS_AHEAD)
            for chunk, fetched in zip(chunks, fetched_chunks, strict=True):
                start = 0
                for outcomes in _batches(self._outcomes(pool, model, chunk, fetched), CHUNK_IMAGES):
                    end = start + len(outcomes)
                    yield self._assemble(chunk.slice(start, len(outcomes)), fetched[start:end], outcomes)
                    start = end

    def _outcomes(
        self,
        pool: _ExtractorPool,
        model: Embedder | None,
        chunk: pa.RecordBatch,
        fetched: Sequence[FetchedObject | Rejected],
    ) -> Iterator[ImageFeatures | Rejected]:
        """Yield the outcomes of fetched images. With a model, a batch at a time, because its inputs are large."""
        images = [one.content if isinstance(one, FetchedObject) else one for one in fetched]
        results = pool.map(images, [f"s3://{self.bucket}/{key}" for key in chunk["key"].to_pylist()])
        outcomes = (_FAILURES[result] if isinstance(result, Failure) else result for result in results)
        if model is None:
            yield from outcomes
            return
        for batch in _batches(outcomes, BATCH_IMAGES):
            yield from add_embeddings(batch, self.families, model)

    def _open_model(self, stack: ExitStack) -> Embedder | None:
        """Return the model, if there is one. Its calls have a deadline until the stack is closed."""
        if self.model is None:
            return None
        pool = stack.enter_context(self._pool(partial(call_model, self.model), MODEL_DEADLINE_S))
        return GuardedModel(self.model, pool)

    def _pool(self, function: Callable[[_A], _T], deadline_s: float) -> Pool[_A, _T]:
        """Return a pool for a function: this process, or a child process."""
        if self.isolated:
            return SubprocessPool(function, deadline_s, opencv_environment(self.max_pixels))
        return InProcess(function, deadline_s)

    def _assemble(
        self,
        chunk: pa.RecordBatch,
        fetched: Sequence[FetchedObject | Rejected],
        outcomes: Sequence[ImageFeatures | Rejected],
    ) -> Chunk:
        """Return the rows of a chunk's outcomes."""
        path = pa.array([f"s3://{self.bucket}/{key}" for key in chunk["key"].to_pylist()], pa.string())
        rows = chunk.append_column("path", path).append_column("by_content", _by_content(fetched))
        is_extracted = pa.array([isinstance(outcome, ImageFeatures) for outcome in outcomes], pa.bool_())
        extracted = [outcome for outcome in outcomes if isinstance(outcome, ImageFeatures)]
        rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
        columns = arrow_schema(extractor_columns(include_pixels=self.include_pixels))
        return Chunk(
            _batch(columns, rows.filter(is_extracted), _extracted_values(extracted)),
            _batch(arrow_schema(REJECTED), rows.filter(pc.invert(is_extracted)), _rejected_values(rejected)),
        )


def _batches(outcomes: Iterable[ImageFeatures | Rejected], max_images: int) -> Iterator[list[ImageFeatures | Rejected]]:
    """Yield batches of at most `max_images` outcomes and `DECODED_BYTES` bytes of pixels, or of one larger image."""
    batch: list[ImageFeatures | Rejected] = []
    size = 0
    for outcome in outcomes:
        added = outcome.pixels.nbytes if isinstance(outcome, ImageFeatures) and outcome.pixels is not None else 0
        if batch and (len(batch) == max_images or size + added > DECODED_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(outcome)
        size += added
    if batch:
        yield batch


def _extracted_values(images: Sequence[ImageFeatures]) -> dict[str, object]:
    """Return the values of extracted images by column."""
    return {
        "height": [image.height for image in images],
        "width": [image.width for image in images],
        "keypoints": [len(image.descriptors) for image in images],
        "descriptors": [image.descriptors.tobytes() for image in images],
        "features": np.array([image.features for image in images], np.float32),
        "image": pack_arrays([image.pixels for image in images if image.pixels is not None]),
    }


def _by_content(fetched: Sequence[FetchedObject | Rejected]) -> pa.Array:
    """Return whether the ETag of each object identifies its content. That of a rejected object does not."""
    return pa.array([isinstance(one, FetchedObject) and one.by_content for one in fetched], pa.bool_())


def _rejected_values(rejections: Sequence[Rejected]) -> dict[str, object]:
    """Return the values of rejected images by column."""
    return {name: [str(getattr(one, name)) for one in rejections] for name in ("stage", "reason", "detail")}


def _fetch(fetcher: Fetcher, chunk: pa.RecordBatch) -> list[FetchedObject | Rejected]:
    """Fetch the objects of a chunk, except those outside any category, which are rejected without a request."""
    refs = [ObjectRef(*row) for row in zip(*(chunk[name].to_pylist() for name in ObjectRef._fields), strict=True)]
    inside = pc.is_valid(chunk["category"]).to_pylist()
    fetched = iter(fetcher.fetch([ref for ref, is_inside in zip(refs, inside, strict=True) if is_inside]))
    outside = Rejected(Stage.FETCH, Reason.NO_CATEGORY, "The object is not in a category folder.")
    return [next(fetched) if is_inside else outside for is_inside in inside]


def _chunks(inventory: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield chunks of at most `CHUNK_IMAGES` rows and about `CHUNK_BYTES` bytes."""
    start = 0
    sizes = inventory["size"].to_numpy()
    while start < len(sizes):
        fits = int(np.searchsorted(sizes[start : start + CHUNK_IMAGES].cumsum(), CHUNK_BYTES, "right"))
        (chunk,) = inventory.slice(start, max(1, fits)).combine_chunks().to_batches()
        start += chunk.num_rows
        yield chunk


def _batch(schema: pa.Schema, rows: pa.RecordBatch, values: dict[str, object]) -> pa.RecordBatch:
    """Return a batch of the columns that `rows` has and of new values."""
    arrays = [
        rows[field.name] if field.name in rows.schema.names else as_array(values[field.name], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
