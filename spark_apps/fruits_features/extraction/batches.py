"""What is done to the images: inventory rows in, described and rejected images out, as Arrow batches.

Knows no Spark: the same generator runs in a test or a plain process.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.contract.rejections import Reason, Rejected, Stage
from fruits_features.extraction.extract import Description, describe_image, embed
from fruits_features.extraction.families.onnx import BATCH_IMAGES, Model, Weights
from fruits_features.extraction.subprocess_pool import Isolated
from fruits_features.io.fetcher import IMAGE_RETRIES, Fetcher, Wanted
from fruits_features.io.object_store import open_bucket
from fruits_features.io.prefetch import map_ahead
from fruits_features.io.vectors import as_array
from fruits_features.schemas import REJECTED, arrow_schema, worked_columns

CHUNK_IMAGES = 256
"""Images that are fetched together, while those before them are described; fewer where they are large:"""
CHUNK_BYTES = 16 * 1024 * 1024
CHUNKS_AHEAD = 2
"""On their way while one is described: with one alone, requests would run dry at the end of each."""

_DescribeAll = Callable[[Sequence[bytes | Rejected]], list[Description | Rejected]]


class Chunk(NamedTuple):
    """What became of some consecutive rows of the inventory: each is a row of one of the two batches."""

    described: pa.RecordBatch
    rejected: pa.RecordBatch


@dataclass(frozen=True)
class Worker:
    """What there is to know besides the inventory.

    Args:
        bucket: the bucket that holds the images.
        families: names of the families, in the order of their features.
        max_bytes: a larger object is rejected without being fetched.
        max_pixels: a larger image is rejected without being decoded.
        include_pixels: also give every image's decoded pixels.
        model: of the family `onnx`, where it is one of them.
        isolated: describe in a child process, so that an image that kills it is rejected and its neighbours are not
            lost. For rows that have killed this process before, or in a process that must not die: it takes longer.
    """

    bucket: str
    families: tuple[str, ...]
    max_bytes: int
    max_pixels: int
    include_pixels: bool
    model: Weights | None = None
    isolated: bool = False

    def describe(self, inventory: pa.Table) -> Iterator[Chunk]:
        """Describe the images of inventory rows, in their order. While one chunk is described, the next ones travel."""
        chunks = list(_chunks(inventory))
        model = self.model.open() if self.model else None
        with (
            closing(Fetcher(open_bucket(self.bucket, IMAGE_RETRIES), self.max_bytes)) as fetcher,
            self._describer(model.size if model else None) as describe,
        ):
            for chunk, fetched in zip(chunks, map_ahead(partial(_fetch, fetcher), chunks, CHUNKS_AHEAD), strict=True):
                outcomes = self._embed(model, describe, fetched) if model else describe(fetched)
                yield self._assemble(chunk, fetched, outcomes)

    @contextmanager
    def _describer(self, model_size: tuple[int, int] | None) -> Iterator[_DescribeAll]:
        """Give what describes fetched images, but for the model's part: here or in a child process."""
        describe = partial(
            describe_image,
            names=self.families,
            max_pixels=self.max_pixels,
            keep_pixels=self.include_pixels,
            model_size=model_size,
        )
        if self.isolated:
            with Isolated(describe) as child:
                yield lambda fetched: [outcome or _CRASHED for outcome in child.call(fetched)]
        else:
            yield lambda fetched: [describe(one) for one in fetched]

    def _embed(
        self, model: Model, describe: _DescribeAll, fetched: Sequence[bytes | Rejected]
    ) -> list[Description | Rejected]:
        """Describe a batch of images at a time: what the model takes of them is larger than what it gives."""
        batches = (fetched[start : start + BATCH_IMAGES] for start in range(0, len(fetched), BATCH_IMAGES))
        return [one for batch in batches for one in embed(describe(batch), self.families, model)]

    def _assemble(
        self, chunk: pa.RecordBatch, fetched: Sequence[bytes | Rejected], outcomes: Sequence[Description | Rejected]
    ) -> Chunk:
        """Make the rows of a chunk's outcomes."""
        path = pa.array([f"s3://{self.bucket}/{key}" for key in chunk["key"].to_pylist()], pa.string())
        rows = chunk.append_column("path", path).append_column("by_content", _by_content(chunk, fetched))
        sound = pa.array([isinstance(outcome, Description) for outcome in outcomes], pa.bool_())
        described = [outcome for outcome in outcomes if isinstance(outcome, Description)]
        rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
        columns = arrow_schema(worked_columns(include_pixels=self.include_pixels))
        return Chunk(
            _batch(columns, rows.filter(sound), _described(described)),
            _batch(arrow_schema(REJECTED), rows.filter(pc.invert(sound)), _rejected(rejected)),
        )


def _described(descriptions: Sequence[Description]) -> dict[str, object]:
    """Give the values of described images by column."""
    return {
        "height": [one.height for one in descriptions],
        "width": [one.width for one in descriptions],
        "keypoints": [len(one.descriptors) for one in descriptions],
        "descriptors": [one.descriptors.tobytes() for one in descriptions],
        "features": np.array([one.features for one in descriptions], np.float32),
        "image": [one.pixels.tobytes() for one in descriptions if one.pixels is not None],
    }


def _by_content(chunk: pa.RecordBatch, fetched: Sequence[bytes | Rejected]) -> pa.Array:
    """Tell whose ETag is the MD5 of its bytes, as that of a plain upload is, and so tells the same bytes elsewhere."""
    return pa.array(
        [
            isinstance(data, bytes) and hashlib.md5(data, usedforsecurity=False).hexdigest() == etag
            for data, etag in zip(fetched, chunk["etag"].to_pylist(), strict=True)
        ],
        pa.bool_(),
    )


def _rejected(rejections: Sequence[Rejected]) -> dict[str, object]:
    """Give the values of rejected images by column."""
    return {name: [str(getattr(one, name)) for one in rejections] for name in ("stage", "reason", "detail")}


_CRASHED = Rejected(
    Stage.DECODE, Reason.DECODER_CRASH, "Reading this image ended the process that did, in a new one of its own too."
)


def _fetch(fetcher: Fetcher, chunk: pa.RecordBatch) -> list[bytes | Rejected]:
    """Fetch a chunk's objects; what lies outside any category is not worth a request."""
    wanted = [Wanted(*row) for row in zip(*(chunk[name].to_pylist() for name in Wanted._fields), strict=True)]
    inside = pc.is_valid(chunk["category"]).to_pylist()
    fetched = iter(fetcher.fetch([one for one, is_inside in zip(wanted, inside, strict=True) if is_inside]))
    outside = Rejected(Stage.FETCH, Reason.NO_CATEGORY, "The object lies outside any category folder.")
    return [next(fetched) if is_inside else outside for is_inside in inside]


def _chunks(inventory: pa.Table) -> Iterator[pa.RecordBatch]:
    """Cut inventory rows into chunks: of so many images, or fewer where these hold too many bytes together."""
    start = 0
    sizes = inventory["size"].to_numpy()
    while start < len(sizes):
        fits = int(np.searchsorted(sizes[start : start + CHUNK_IMAGES].cumsum(), CHUNK_BYTES, "right"))
        (chunk,) = inventory.slice(start, max(1, fits)).combine_chunks().to_batches()
        start += chunk.num_rows
        yield chunk


def _batch(schema: pa.Schema, rows: pa.RecordBatch, values: dict[str, object]) -> pa.RecordBatch:
    """Make a batch of columns that the inventory's rows have, and of values that are new."""
    arrays = [
        rows[field.name] if field.name in rows.schema.names else as_array(values[field.name], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
