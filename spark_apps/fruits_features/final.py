"""The final Parquet files: staged images projected and written, rejected ones gathered. Knows no Spark.

pyarrow writes them, not Spark: that keeps the wide rows out of the JVM, puts the run's parameters into each file's own
metadata, and makes each object appear at once and whole, so that there is nothing to commit or rename.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fruits_features import __version__, storage, tables
from fruits_features.ahead import Behind, map_ahead
from fruits_features.arguments import Arguments
from fruits_features.parts import StagedFile
from fruits_features.projection import Projection
from fruits_features.schemas import METADATA_KEY, QUARANTINE, arrow_schema, features_columns
from fruits_features.worker import as_array, as_matrix

FILE_BYTES = 128 * 1024 * 1024
"""About what a file holds; those of one run are of one size, between half of this and one and a half."""

LEAST_EVEN_BYTES = 90 * 1024 * 1024
"""Least size of a file on average when there are more of them for the cores' sake: above 64 MB, since they are made of
staged files, which do not end where one would cut."""


_LEVELS = {"descriptors": -7}
"""zstd's levels other than its default: descriptors are half of a file and look like noise (97 % remain at any level),
so little is looked for."""


@dataclass(frozen=True)
class FeaturesFile:
    """One file of `features/` that is to be written.

    Args:
        name: its name in the folder.
        staged: the staged files that it is made of, in order.
    """

    name: str
    staged: tuple[str, ...]


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


def plan_files(staged: Sequence[StagedFile], cores: int = 1) -> list[FeaturesFile]:
    """Spread staged files over files of about equal size, without touching their order.

    As many for every core, so that none waits while the last file is written, unless that makes them too small.
    """
    sizes = np.array([file.size for file in staged])
    files = max(1, round(sizes.sum() / FILE_BYTES))
    even = math.ceil(files / cores) * cores
    if sizes.sum() / even >= LEAST_EVEN_BYTES:
        files = even
    middles = sizes.cumsum() - sizes / 2
    numbers = np.minimum((middles * files / sizes.sum()).astype(int), files - 1)
    groups = [tuple(file.name for file, one in zip(staged, numbers, strict=True) if one == n) for n in range(files)]
    return [FeaturesFile(f"part-{n:05}.parquet", group) for n, group in enumerate(group for group in groups if group)]


@dataclass(frozen=True)
class Finish:
    """How staged images become rows of `features/`.

    Args:
        staging: folder of the staged files.
        features: folder of the final ones.
        projection: gives the column `pca`.
        arguments: of the run; they go into the files' metadata.
    """

    staging: str
    features: str
    projection: Projection
    arguments: Arguments

    def write(self, file: FeaturesFile) -> WrittenFile:
        """Write one file."""
        schema = arrow_schema(features_columns(include_pixels=self.arguments.include_pixels))
        read = partial(storage.read_bytes, self.staging)
        staged = map(tables.from_bytes, map_ahead(read, file.staged))
        projected = (self._project(table, schema) for table in staged)
        return write_parquet(self.features, file.name, schema, projected, self.arguments)

    def _project(self, staged: pa.Table, schema: pa.Schema) -> pa.Table:
        """Add the column `pca`."""
        lists = staged["features"].combine_chunks()
        field = schema.field("pca")
        pca = as_array(self.projection.project(as_matrix(lists)), field.type)
        return staged.add_column(schema.get_field_index("pca"), field, pca)


def write_quarantine(staging: str, names: Iterable[str], folder: str, arguments: Arguments) -> WrittenFile:
    """Gather the staged rejections in one file, in their order; it is there even when nothing was rejected."""
    rejected = map(tables.from_bytes, map_ahead(partial(storage.read_bytes, staging), names))
    return write_parquet(folder, "part-00000.parquet", arrow_schema(QUARANTINE), rejected, arguments)


def write_parquet(
    folder: str, name: str, schema: pa.Schema, tables_of_rows: Iterable[pa.Table], arguments: Arguments
) -> WrittenFile:
    """Write one Parquet file; nothing is there before it is complete. While one table is written, the next is made."""
    order = [(column, "ascending") for column in ("category", "path")] if "category" in schema.names else []
    rows = 0
    with (
        storage.writing(folder, name) as sink,
        pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=_LEVELS,
            use_dictionary=[column for column in ("split", "category", "stage", "reason") if column in schema.names],
            sorting_columns=pq.SortingColumn.from_ordering(schema, order),
        ) as writer,
    ):
        writer.add_key_value_metadata({METADATA_KEY: json.dumps(about(arguments), sort_keys=True)})
        with closing(Behind()) as behind:
            for table in tables_of_rows:
                rows += table.num_rows
                behind.call(writer.write_table, table)
    return WrittenFile(name, rows, sink.size)


def about(arguments: Arguments) -> Mapping[str, object]:
    """Tell what wrote a file: see `schemas.METADATA`."""
    return {"version": __version__, "arguments": asdict(arguments)}
