"""A run's tables as they lie in S3, read a batch at a time.

Through pyarrow's own S3 client: other readers ask for a whole small object as a range, which not every S3 server
answers as AWS does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from fruits_features.schemas import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from pyarrow.fs import FileSystem

    from fruits_features.contract.layout import RunLayout

BATCH_ROWS = 4096
"""Rows held at a time: about 35 MB of features."""


@dataclass(frozen=True)
class Table:
    """One folder of Parquet files.

    Args:
        uri: the folder.
        filesystem: the bucket's.
    """

    uri: str
    filesystem: FileSystem

    @cached_property
    def dataset(self) -> ds.Dataset:
        """The files; what begins with "_" or "." is no data (Spark's convention)."""
        return ds.dataset(self.uri.removeprefix("s3://"), filesystem=self.filesystem, format="parquet")

    @cached_property
    def rows(self) -> int:
        """How many rows there are, by the files' footers."""
        count: int = self.dataset.count_rows()
        return count

    def schemas(self) -> list[pa.Schema]:
        """Columns and types of each file, without metadata."""
        return [fragment.physical_schema.remove_metadata() for fragment in self.dataset.get_fragments()]

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Read rows in the files' order, a batch at a time: no more of a file is in memory than a row group."""
        for path in self.dataset.files:
            with self.filesystem.open_input_file(path) as file:
                for batch in pq.ParquetFile(file, pre_buffer=True).iter_batches(BATCH_ROWS, columns=columns):
                    yield cast("pl.DataFrame", pl.from_arrow(batch))

    def sizes(self) -> list[int]:
        """Sizes of the files in bytes."""
        return [info.size for info in self.filesystem.get_file_info(list(self.dataset.files))]

    def metadata(self) -> list[Mapping[str, Any] | None]:
        """What each file says of what wrote it; `None` where it says nothing."""
        found = []
        for fragment in self.dataset.get_fragments():
            words = (fragment.metadata.metadata or {}).get(METADATA_KEY.encode())
            found.append(json.loads(words) if words else None)
        return found


@dataclass(frozen=True)
class RunFiles:
    """A run's tables.

    Args:
        layout: where they lie.
        filesystem: the bucket's.
    """

    layout: RunLayout
    filesystem: FileSystem

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.layout.prefix.removeprefix("s3://").partition("/")[0]

    @cached_property
    def inventory(self) -> Table:
        """What the run had to account for."""
        return Table(self.layout.inventory, self.filesystem)

    @cached_property
    def features(self) -> Table:
        """One row for each image that was described."""
        return Table(self.layout.features, self.filesystem)

    @cached_property
    def quarantine(self) -> Table:
        """One row for each object that was not."""
        return Table(self.layout.quarantine, self.filesystem)
