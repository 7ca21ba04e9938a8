"""The final Parquet files: stored images projected and written, rejected ones gathered. Knows no Spark.

pyarrow writes them, not Spark: that keeps the wide rows out of the JVM, puts the run's parameters into each file's own
metadata, and makes each object appear at once and whole, so that there is nothing to commit or rename.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features import __version__
from fruits_features.cache.selection import Selection, bytes_of
from fruits_features.cache.store import StoredFile
from fruits_features.contract.arguments import Arguments
from fruits_features.io import object_store
from fruits_features.io.arrow import combine_chunks
from fruits_features.io.prefetch import BackgroundWriter
from fruits_features.io.vectors import as_array, as_matrix
from fruits_features.output.snapshot import paths
from fruits_features.projection import Projection
from fruits_features.schemas import METADATA_KEY, QUARANTINE, arrow_schema, features_columns, stored_columns

FILE_BYTES = 128 * 1024 * 1024
"""About what a file holds; those of one run are of one size, between half of this and one and a half."""

LEAST_EVEN_BYTES = 90 * 1024 * 1024
"""Least size of a file on average when there are more of them for the cores' sake: above 64 MB, since what rows of one
file of the store have in common is only their average size."""

_UNCOMPARED = ("descriptors", "features", "image", "pca")
"""Columns that nobody looks for a value of: their least and greatest ones are not sought."""

_LEVELS = {"descriptors": -7}
"""zstd's levels other than its default: descriptors are half of a file and look like noise (97 % remain at any level),
so little is looked for."""


@dataclass(frozen=True)
class FeaturesFile:
    """One file of `features/` that is to be written.

    Args:
        name: its name in the folder.
        rows: the stored rows that it is made of, in order.
    """

    name: str
    rows: Selection


@dataclass(frozen=True)
class WrittenFile:
    """One file that was written.

    Args:
        name: its name in its folder.
        rows: how many it has.
        size: in bytes.
    """

    name: str
    rows: int
    size: int


def plan_files(described: pa.Table, files: Sequence[StoredFile], cores: int = 1) -> list[FeaturesFile]:
    """Spread described images, in their order, over files of about equal size.

    As many for every core, so that none waits while the last file is written, unless that makes them too small.

    Args:
        described: where each is, as `Assembly` tells.
        files: of the store.
        cores: how many files are written at once.
    """
    ends = bytes_of(described["file"], files, "size").cumsum()
    count = max(1, round(ends[-1] / FILE_BYTES))
    even = math.ceil(count / cores) * cores
    if ends[-1] / even >= LEAST_EVEN_BYTES:
        count = even
    cuts = np.searchsorted(ends, np.arange(1, count) * ends[-1] / count, "right").tolist()
    pieces = [described.slice(start, end - start) for start, end in pairwise([0, *cuts, len(ends)]) if end > start]
    return [FeaturesFile(f"part-{n:05}.parquet", Selection.of(rows, files)) for n, rows in enumerate(pieces)]


@dataclass(frozen=True)
class FeaturesWriter:
    """How stored images become rows of `features/`.

    Args:
        store: folder of the store.
        features: folder of the final files.
        projection: gives the column `pca`.
        arguments: of the run; they go into the files' metadata.
    """

    store: str
    features: str
    projection: Projection
    arguments: Arguments

    def write(self, file: FeaturesFile) -> WrittenFile:
        """Write one file."""
        schema = arrow_schema(features_columns(include_pixels=self.arguments.include_pixels))
        stored = stored_columns(include_pixels=self.arguments.include_pixels)
        read = file.rows.read(self.store, [column.name for column in stored if column.name != "etag"])
        projected = (self._project(table, schema) for table in read)
        return write_parquet(self.features, file.name, schema, projected, about(self.arguments, self.projection))

    def _project(self, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        """Add the columns `path` and `pca`."""
        pca = as_array(self.projection.project(as_matrix(combine_chunks(rows["features"]))), schema.field("pca").type)
        made = {"path": paths(self.arguments.bucket, rows["key"]), "pca": pca}
        columns = [made[name] if name in made else rows[name] for name in schema.names]
        return pa.Table.from_arrays(columns, schema=schema)


def write_quarantine(rejected: pa.Table, folder: str, arguments: Arguments) -> WrittenFile:
    """Write the rejections as one file, in their order; it is there even when nothing was rejected."""
    return write_parquet(folder, "part-00000.parquet", arrow_schema(QUARANTINE), [rejected], about(arguments))


def write_parquet(
    folder: str, name: str, schema: pa.Schema, tables_of_rows: Iterable[pa.Table], words: Mapping[str, object]
) -> WrittenFile:
    """Write one Parquet file; nothing is there before it is complete. While one table is written, the next is made."""
    order = [(column, "ascending") for column in ("category", "path")] if "category" in schema.names else []
    rows = 0
    with (
        object_store.writing(folder, name) as sink,
        pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=_LEVELS,
            use_dictionary=[column for column in ("split", "category", "stage", "reason") if column in schema.names],
            write_statistics=[column for column in schema.names if column not in _UNCOMPARED],
            sorting_columns=pq.SortingColumn.from_ordering(schema, order),
        ) as writer,
    ):
        writer.add_key_value_metadata({METADATA_KEY: json.dumps(words, sort_keys=True)})
        with closing(BackgroundWriter()) as behind:
            for table in tables_of_rows:
                rows += table.num_rows
                behind.call(writer.write_table, table)
    return WrittenFile(name, rows, sink.size)


def about(arguments: Arguments, projection: Projection | None = None) -> Mapping[str, object]:
    """Tell what wrote a file, and which projection gave its column `pca`, if it has one: see `schemas.METADATA`."""
    words = {"version": __version__, "arguments": asdict(arguments)}
    return {**words, "projection": projection.version} if projection else words
