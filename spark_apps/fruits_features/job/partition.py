"""One part of the inventory, worked off: its images described and stored, its rejections too, and an account of both.

Knows no Spark. What is stored lies in the run's volume of the store under names of this very try, each written whole:
of a part that is worked off twice, the account names the files that count.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.cache.data_files import FILE_BYTES, PartWriter
from fruits_features.cache.store import StoredPart
from fruits_features.extraction.batches import Worker
from fruits_features.io import arrow
from fruits_features.io.arrow import whole
from fruits_features.io.prefetch import Behind
from fruits_features.io.vectors import as_matrix
from fruits_features.pca.fit import Moments, merge_all
from fruits_features.schemas import stored_columns


@dataclass(frozen=True)
class Account:
    """What became of the images of some parts.

    Args:
        parts: what has been stored.
        moments: of the features of those that the projection is fitted on; `None` for none, or where none is fitted.
    """

    parts: tuple[StoredPart, ...] = ()
    moments: Moments | None = None

    def merge(self, other: "Account") -> "Account":
        """Merge with the account of other parts, in whatever order they come."""
        parts = sorted((*self.parts, *other.parts), key=lambda part: part.index)
        return Account(tuple(parts), merge_all([self.moments, other.moments]))


@dataclass(frozen=True)
class Part:
    """One part of the inventory and where its outcome goes.

    Args:
        number: its place among the parts.
        inventory: its rows, as `tables.to_bytes` writes them.
        volume: the folder that its outcome is stored in.
        fitted_split: the split that the projection is fitted on; `None` for all images.
        measured: whether a projection is fitted at all, so that moments are wanted: they are megabytes.
    """

    number: int
    inventory: bytes
    volume: str
    fitted_split: str | None
    measured: bool

    def work_off(self, worker: Worker, report: Callable[[int], None]) -> Account:
        """Describe and store the part's images.

        Args:
            worker: describes them.
            report: is told how many images are done, again and again.
        """
        columns = [column.name for column in stored_columns(include_pixels=worker.include_pixels)]
        moments: Moments | None = None
        rejected: list[pa.RecordBatch] = []
        with closing(Behind()) as uploads:
            writer = PartWriter(self.volume, self.number, uploads)
            for table in _files(self._describe(worker, rejected, report)):
                writer.write(table, columns)
                if self.measured:
                    moments = merge_all([moments, fitted_moments(table, self.fitted_split)])
            reasons = pa.Table.from_batches(rejected)
            writer.note(reasons, {name: reasons[name] for name in ("stage", "reason", "detail")})
            return Account((writer.finish(),), moments)

    def _describe(
        self, worker: Worker, rejected: list[pa.RecordBatch], report: Callable[[int], None]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the batches of described images, collect the others."""
        done = 0
        for chunk in worker.describe(arrow.from_bytes(self.inventory)):
            done += chunk.described.num_rows + chunk.rejected.num_rows
            report(done)
            rejected.append(chunk.rejected)
            yield chunk.described


def fitted_moments(table: pa.Table, split: str | None) -> Moments | None:
    """Compute the moments of the rows that are fitted; `None` for none.

    Args:
        table: with the columns `features` and `split`.
        split: which rows; all for `None`.
    """
    fitted = table if split is None else table.filter(pc.field("split") == split)
    return Moments.of(as_matrix(whole(fitted["features"]))) if fitted.num_rows else None


def _files(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Gather batches until they fill a stored file."""
    gathered: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows:
            gathered.append(batch)
        if sum(one.nbytes for one in gathered) >= FILE_BYTES:
            yield pa.Table.from_batches(gathered)
            gathered = []
    if gathered:
        yield pa.Table.from_batches(gathered)
