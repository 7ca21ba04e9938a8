"""One part of the inventory, worked off: its images described and staged, its rejections too, and an account of both.

Knows no Spark. What is staged lies below the run's own folder under names that depend on the part alone, each written
whole: a part that is worked off twice leaves the same objects.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pyarrow as pa

from fruits_features import storage, tables
from fruits_features.ahead import Behind
from fruits_features.components import Moments
from fruits_features.worker import Worker, as_matrix

STAGED_BYTES = 32 * 1024 * 1024
"""About what one staged object holds before compression: bounds the memory of whoever writes or reads it."""


@dataclass(frozen=True)
class StagedFile:
    """Some described images, in order.

    Args:
        name: its name in the staging folder; names sort as the images do.
        rows: how many images.
        size: in bytes, as stored.
    """

    name: str
    rows: int
    size: int


@dataclass(frozen=True)
class Account:
    """What became of the images of some parts.

    Args:
        files: the staged files of those described.
        moments: of the features of those that the projection is fitted on; `None` for none.
        reasons: how many were rejected, by reason.
        rejections: names of the staged files of those.
    """

    files: tuple[StagedFile, ...] = ()
    moments: Moments | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    rejections: tuple[str, ...] = ()

    @property
    def described(self) -> int:
        """How many images were described."""
        return sum(file.rows for file in self.files)

    @property
    def rejected(self) -> int:
        """How many images were rejected."""
        return self.reasons.total()

    def merge(self, other: "Account") -> "Account":
        """Merge with the account of other parts, in whatever order they come."""
        both = [moments for moments in (self.moments, other.moments) if moments]
        return Account(
            tuple(sorted((*self.files, *other.files), key=lambda file: file.name)),
            both[0].merge(both[1]) if len(both) > 1 else next(iter(both), None),
            self.reasons + other.reasons,
            tuple(sorted((*self.rejections, *other.rejections))),
        )


@dataclass(frozen=True)
class Part:
    """One part of the inventory and where its outcome goes.

    Args:
        number: its place among the parts.
        inventory: its rows, as `tables.to_bytes` writes them.
        staging: the folder that its outcome is staged in.
        fitted_split: the split that the projection is fitted on; `None` for all images.
    """

    number: int
    inventory: bytes
    staging: str
    fitted_split: str | None

    def work_off(self, worker: Worker, report: Callable[[int], None]) -> Account:
        """Describe and stage the part's images.

        Args:
            worker: describes them.
            report: is told how many images are done, again and again.
        """
        account = Account()
        rejected: list[pa.RecordBatch] = []
        with closing(Behind()) as uploads:
            for number, table in enumerate(_files(self._describe(worker, rejected, report))):
                name = f"described-{self.number:05}-{number:05}.arrow"
                data = tables.to_bytes(table)
                uploads.call(storage.write_bytes, self.staging, name, data)
                file = StagedFile(name, table.num_rows, len(data))
                account = account.merge(Account((file,), self._moments(table)))
        return account.merge(self._stage_rejected(rejected))

    def _describe(
        self, worker: Worker, rejected: list[pa.RecordBatch], report: Callable[[int], None]
    ) -> Iterator[pa.RecordBatch]:
        """Yield the batches of described images, collect the others."""
        done = 0
        for chunk in worker.describe(tables.from_bytes(self.inventory)):
            done += chunk.described.num_rows + chunk.rejected.num_rows
            report(done)
            rejected.append(chunk.rejected)
            yield chunk.described

    def _moments(self, table: pa.Table) -> Moments | None:
        fitted = table if self.fitted_split is None else table.filter(pa.compute.field("split") == self.fitted_split)
        if not fitted.num_rows:
            return None
        return Moments.of(as_matrix(fitted["features"].combine_chunks()))

    def _stage_rejected(self, rejected: list[pa.RecordBatch]) -> Account:
        table = pa.Table.from_batches(rejected)
        if not table.num_rows:
            return Account()
        name = f"rejected-{self.number:05}.arrow"
        storage.write_bytes(self.staging, name, tables.to_bytes(table))
        return Account(reasons=Counter(table["reason"].to_pylist()), rejections=(name,))


def _files(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Gather batches until they fill a staged file."""
    gathered: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows:
            gathered.append(batch)
        if sum(one.nbytes for one in gathered) >= STAGED_BYTES:
            yield pa.Table.from_batches(gathered)
            gathered = []
    if gathered:
        yield pa.Table.from_batches(gathered)
