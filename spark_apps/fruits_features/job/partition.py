"""One partition of the inventory: its features extracted and written to the feature cache.

Does not know Spark. Each attempt writes files with unique names. When a partition is processed twice, only the files in
the result are valid.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from fruits_features.cache.data_files import CACHE_FILE_BYTES, PartWriter
from fruits_features.cache.store import StoredPart
from fruits_features.extraction.batches import BatchExtractor
from fruits_features.io import staging
from fruits_features.io.arrow import combine_chunks
from fruits_features.io.prefetch import BackgroundWriter
from fruits_features.io.vectors import as_matrix
from fruits_features.output.snapshot import of_split
from fruits_features.pca.fit import Moments, merge_all
from fruits_features.schemas import stored_columns


class PartitionReporter(Protocol):
    """Receives the progress of partitions."""

    def report(self, partition: int, done: int) -> None:
        """Record that `done` images of a partition have an outcome."""


@dataclass(frozen=True)
class PartitionResult:
    """The outcome of some partitions.

    Args:
        parts: Parts written to the feature cache, one per partition, in the order of the partitions' numbers.
        moments: Moments of the features that the projection is fitted on; `None` if there are none.
    """

    parts: tuple[StoredPart, ...] = ()
    moments: Moments | None = None

    def merge(self, other: "PartitionResult") -> "PartitionResult":
        """Return the result of both. The order of merging does not matter."""
        parts = sorted((*self.parts, *other.parts), key=lambda part: (len(part.index), part.index))
        return PartitionResult(tuple(parts), merge_all([self.moments, other.moments]))


@dataclass(frozen=True)
class Partition:
    """Consecutive rows of the inventory that one task processes.

    Args:
        number: Position among the partitions.
        inventory: Rows of the inventory, as returned by `Staging.send`.
        segment: Folder of the cache segment that the task writes to.
        fitted_split: Split that the projection is fitted on; `None` for all images.
        needs_moments: Whether a projection is fitted. Moments take megabytes, so they are only sent if they are needed.
    """

    number: int
    inventory: bytes | str
    segment: str
    fitted_split: str | None
    needs_moments: bool

    def process(self, extractor: BatchExtractor, reporter: PartitionReporter) -> PartitionResult:
        """Extract the features of the partition's images and write them to the cache segment."""
        columns = [column.name for column in stored_columns(include_pixels=extractor.include_pixels)]
        done, moments = 0, None
        pending: list[pa.RecordBatch] = []
        rejected: list[pa.RecordBatch] = []
        with closing(BackgroundWriter()) as uploads:
            writer = PartWriter(self.segment, self.number, uploads)
            for chunk in extractor.extract(staging.read(self.inventory)):
                done += chunk.extracted.num_rows + chunk.rejected.num_rows
                reporter.report(self.number, done)
                rejected.append(chunk.rejected)
                pending.append(chunk.extracted)
                if sum(batch.nbytes for batch in pending) >= CACHE_FILE_BYTES:
                    moments = merge_all([moments, self._write(writer, pending, columns)])
                    pending = []
            moments = merge_all([moments, self._write(writer, pending, columns)])
            writer.reject(pa.Table.from_batches(rejected))
            return PartitionResult((writer.finish(),), moments)

    def _write(self, writer: PartWriter, batches: Sequence[pa.RecordBatch], columns: Sequence[str]) -> Moments | None:
        """Write extracted images as one file and return the moments of those that are fitted."""
        if not any(batch.num_rows for batch in batches):
            return None
        table = pa.Table.from_batches([batch for batch in batches if batch.num_rows])
        writer.write(table, columns)
        return fitted_moments(table, self.fitted_split) if self.needs_moments else None


def fitted_moments(table: pa.Table, split: str | None) -> Moments | None:
    """Return the moments of the rows that the projection is fitted on; `None` if there are none.

    Args:
        table: Rows with the columns `features` and `split`.
        split: Split of the rows; `None` for all rows.

    >>> rows = {"features": pa.array([[1], [2], [9]], pa.list_(pa.float32())), "split": ["Training", None, "Test"]}
    >>> fitted_moments(pa.table(rows), "Training").mean.tolist(), fitted_moments(pa.table(rows), None).mean.tolist()
    ([1.0], [4.0])
    """
    fitted = as_matrix(combine_chunks(table["features"]))
    if split is not None:  # a filter of the table would copy its other columns, too
        fitted = fitted[np.asarray(of_split(table, split))]
    return Moments.of(fitted) if len(fitted) else None
