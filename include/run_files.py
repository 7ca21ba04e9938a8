"""Tables of a run in S3, read in batches.

They are read through pyarrow's S3 client. Other readers request a small object as a range that covers all of it, and
not every S3 server answers that as AWS does. The checksums of pages are verified.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from fruits_features.io.checked_parquet import CHECKED_PARQUET
from fruits_features.schemas import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from pyarrow.fs import FileSystem

    from fruits_features.contract.layout import RunLayout

BATCH_ROWS = 4096
"""Rows in memory at a time, about 35 MB of features."""


@dataclass(frozen=True)
class Table:
    """One folder of Parquet files.

    Args:
        uri: `s3://` URI of the folder.
        filesystem: Filesystem of the bucket.
    """

    uri: str
    filesystem: FileSystem

    @cached_property
    def dataset(self) -> ds.Dataset:
        """The files, without those whose names begin with "_" or "." (Spark's convention)."""
        return ds.dataset(self.uri.removeprefix("s3://"), filesystem=self.filesystem, format=CHECKED_PARQUET)

    @cached_property
    def rows(self) -> int:
        """Number of rows, from the files' footers."""
        count: int = self.dataset.count_rows()
        return count

    def schemas(self) -> list[pa.Schema]:
        """Return columns and types of each file, without metadata."""
        return [fragment.physical_schema.remove_metadata() for fragment in self.dataset.get_fragments()]

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield rows in batches, in the order of the files. At most one row group of a file is in memory."""
        for path in self.dataset.files:
            with self.filesystem.open_input_file(path) as file:
                parquet = pq.ParquetFile(file, pre_buffer=True, page_checksum_verification=True)
                for batch in parquet.iter_batches(BATCH_ROWS, columns=columns):
                    yield cast("pl.DataFrame", pl.from_arrow(batch))

    def sizes(self) -> list[int]:
        """Return the sizes of the files in bytes."""
        return [info.size for info in self.filesystem.get_file_info(list(self.dataset.files))]

    def metadata(self) -> list[Mapping[str, Any] | None]:
        """Return the metadata that the job wrote into each file, `None` for a file without it."""
        encoded = [
            (fragment.metadata.metadata or {}).get(METADATA_KEY.encode()) for fragment in self.dataset.get_fragments()
        ]
        return [json.loads(text) if text else None for text in encoded]


@dataclass(frozen=True)
class RunFiles:
    """Tables of one run.

    Args:
        layout: Locations of the run's files.
        filesystem: Filesystem of the bucket.
    """

    layout: RunLayout
    filesystem: FileSystem

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.layout.prefix.removeprefix("s3://").partition("/")[0]

    @cached_property
    def inventory(self) -> Table:
        """Objects that the run had to process."""
        return Table(self.layout.inventory, self.filesystem)

    @cached_property
    def features(self) -> Table:
        """One row for each image from which features were extracted."""
        return Table(self.layout.features, self.filesystem)

    @cached_property
    def quarantine(self) -> Table:
        """One row for each object that was rejected."""
        return Table(self.layout.quarantine, self.filesystem)
