"""Read a run's Parquet tables from object storage.

Each `Table` is a folder of Parquet files. pyarrow finds the columns in the files' footers, so it requests only what is
needed. Page checksums are verified.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileType

from fruits_features.schemas import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from pyarrow.fs import FileSystem

    from fruits_features.contract.layout import RunLayout

BATCH_ROWS = 4096
"""Rows in memory at a time, about 35 MB of features."""
_CONCURRENT_FOOTERS = 16


@dataclass(frozen=True)
class Footer:
    """Footer of a file.

    Args:
        rows: Number of rows.
        schema: Columns and types, without metadata.
        metadata: Metadata that the job wrote into the file; `None` without it.
    """

    rows: int
    schema: pa.Schema
    metadata: Mapping[str, Any] | None


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
    def sizes(self) -> dict[str, int]:
        """Sizes of the files in bytes by name, without names that begin with "_" or "." (Spark's convention)."""
        folder = self.uri.removeprefix("s3://")
        found = self.filesystem.get_file_info(FileSelector(folder, recursive=True))
        sizes = {info.path.removeprefix(f"{folder}/"): info.size for info in found if info.type == FileType.File}
        return {name: size for name, size in sorted(sizes.items()) if not _is_hidden(name)}

    @cached_property
    def footers(self) -> dict[str, Footer]:
        """Footers of the files by name."""
        with ThreadPoolExecutor(_CONCURRENT_FOOTERS) as threads:
            return dict(zip(self.sizes, threads.map(self._footer, self.sizes), strict=True))

    @property
    def rows(self) -> int:
        """Number of rows, from the files' footers."""
        return sum(footer.rows for footer in self.footers.values())

    def batches(
        self, columns: Sequence[str] | None = None, names: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows in batches, in the order of the files. At most one row group of a file is in memory.

        Args:
            columns: Columns to read; all by default.
            names: Names of the files to read; all by default.
        """
        for name in self.sizes if names is None else names:
            with self._open(name) as parquet:
                yield from parquet.iter_batches(BATCH_ROWS, columns=columns)

    def search(self, column: str, values: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield batches that contain the rows with one of these values. Other row groups are not read.

        Args:
            column: Name of the column.
            values: Values.
            columns: Columns to read.
        """
        wanted = sorted(values)
        for name in self.sizes:
            with self._open(name) as parquet:
                groups = [
                    number
                    for number in range(parquet.num_row_groups)
                    if _may_contain(parquet.metadata.row_group(number), column, wanted)
                ]
                if groups:
                    yield from parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns)

    def _open(self, name: str) -> pq.ParquetFile:
        path = f"{self.uri.removeprefix('s3://')}/{name}"
        return pq.ParquetFile(path, filesystem=self.filesystem, pre_buffer=True, page_checksum_verification=True)

    def _footer(self, name: str) -> Footer:
        with self._open(name) as parquet:
            text = (parquet.metadata.metadata or {}).get(METADATA_KEY.encode())
            schema = parquet.schema_arrow.remove_metadata()
            return Footer(parquet.metadata.num_rows, schema, json.loads(text) if text else None)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _may_contain(group: pq.RowGroupMetaData, column: str, values: Sequence[str]) -> bool:
    """Return whether the statistics of a row group allow one of the sorted values."""
    chunks = (group.column(number) for number in range(group.num_columns))
    statistics = next(chunk for chunk in chunks if chunk.path_in_schema == column).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bisect_left(values, statistics.min) < bisect_right(values, statistics.max)


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
