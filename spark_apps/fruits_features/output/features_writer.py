"""Writes the Parquet files that a run publishes: projected features and rejected images. Does not know Spark.

pyarrow writes the files, not Spark. This keeps the wide rows out of the JVM and stores the run's parameters in each
file's metadata. Each object appears at once and complete, so nothing has to be committed or renamed.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, groupby, pairwise
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fruits_features import __version__
from fruits_features.cache.selection import Selection, row_bytes
from fruits_features.cache.store import StoredFile
from fruits_features.contract.arguments import Arguments
from fruits_features.contract.families import MODEL_FAMILY
from fruits_features.io import object_store
from fruits_features.io.arrow import combine_chunks
from fruits_features.io.prefetch import BackgroundWriter
from fruits_features.io.staging import IN_MEMORY, Staging
from fruits_features.io.vectors import as_array, as_matrix
from fruits_features.output.snapshot import paths
from fruits_features.projection import Projection
from fruits_features.recogniser import fit
from fruits_features.recogniser.fit import ComponentSums
from fruits_features.recogniser.sample import TrainingImages
from fruits_features.schemas import METADATA_KEY, QUARANTINE, arrow_schema, features_columns, stored_columns

OUTPUT_FILE_BYTES = 128 * 1024 * 1024
"""Approximate size of a file. All files of a run have about the same size, between 0.5 and 1.5 times this value."""

MIN_EVEN_FILE_BYTES = 90 * 1024 * 1024
"""Smallest average size of a file if the number of files is raised to a multiple of the cores.

Larger than the minimum of 64 MiB that the validation checks, because sizes are estimated from averages.
"""

_WITHOUT_STATISTICS = ("descriptors", "features", "image", "pca")
"""Columns without min/max statistics."""

_TRAINING = ("training_category", "sample")
"""Columns of the rows to write with the fields of `TrainingImages`. They are not written."""

_COMPRESSION_LEVELS = {"descriptors": -7}
"""zstd levels that differ from the default. Descriptors hardly compress at any level, so the fastest one is used."""


@dataclass(frozen=True)
class FeaturesFile:
    """A file of `features/` to be written.

    Args:
        name: Name in the folder.
        rows: Rows of the feature cache that it contains, in order, at least one selection.
    """

    name: str
    rows: tuple[Selection, ...]


@dataclass(frozen=True)
class WrittenFile:
    """A written file.

    Args:
        name: Name in its folder.
        rows: Number of rows.
        size: Size in bytes.
    """

    name: str
    rows: int
    size: int


@dataclass(frozen=True)
class WrittenFeatures:
    """Some written files of `features/`.

    Args:
        files: The files.
        sums: Sums of the components of their training images.
        app_sums: The same for components of the embeddings alone, which an app computes; `None` without a model.
    """

    files: tuple[WrittenFile, ...]
    sums: ComponentSums
    app_sums: ComponentSums | None = None

    def merge(self, other: "WrittenFeatures") -> "WrittenFeatures":
        """Return these and other files."""
        app_sums = self.app_sums.merge(other.app_sums) if self.app_sums and other.app_sums else None
        return WrittenFeatures((*self.files, *other.files), self.sums.merge(other.sums), app_sums)


def plan_file_ends(size_bytes: float, cores: int) -> NDArray[np.float64]:
    """Return the positions, in bytes of all rows, at which files of about equal size end, without the last file's.

    The number of files is a multiple of the cores, so that no core waits for the last files, unless they would become
    too small.

    Args:
        size_bytes: Size of all rows.
        cores: Number of files that are written at once.
    """
    count = max(1, round(size_bytes / OUTPUT_FILE_BYTES))
    even = math.ceil(count / cores) * cores
    if size_bytes / even >= MIN_EVEN_FILE_BYTES:
        count = even
    return np.arange(1, count) * size_bytes / count


def split_into_files(
    extracted: pa.Table,
    training: TrainingImages,
    files: Sequence[StoredFile],
    ends: NDArray[np.float64],
    staging: Staging = IN_MEMORY,
) -> list[tuple[int, Selection]]:
    """Distribute extracted images, in order, over files.

    Args:
        extracted: Location of each image, as in `Snapshot.extracted`.
        training: Role of each image in the training of the recogniser.
        files: Files of the feature cache.
        ends: Positions at which files end, in bytes from the first of these images.
        staging: Place of the selections' rows.

    Returns:
        Rows and number of each file that contains some of the images.
    """
    inner_ends = np.searchsorted(row_bytes(extracted["file"], files, "size").cumsum(), ends, "right").tolist()
    for name, values in zip(_TRAINING, (training.code, training.sample), strict=True):
        extracted = extracted.append_column(name, pa.array(values))
    return [
        (number, Selection.of(extracted.slice(start, end - start), files, staging))
        for number, (start, end) in enumerate(pairwise([0, *inner_ends, extracted.num_rows]))
        if end > start
    ]


def as_files(selections: Iterable[tuple[int, Selection]]) -> list[FeaturesFile]:
    """Return the files with the given numbers and rows. Rows with equal numbers are consecutive."""
    files = [tuple(rows for _, rows in group) for _, group in groupby(selections, key=itemgetter(0))]
    return [FeaturesFile(f"part-{number:05}.parquet", rows) for number, rows in enumerate(files)]


@dataclass(frozen=True)
class FeaturesWriter:
    """Writes rows of the feature cache as files of `features/`.

    Args:
        cache: URI of the cache's folder.
        features: URI of the folder of the final files.
        projection: Projection that computes the column `pca`.
        arguments: Arguments of the run, which are stored in the files' metadata.
    """

    cache: str
    features: str
    projection: Projection
    arguments: Arguments

    def write(self, file: FeaturesFile) -> WrittenFeatures:
        """Write one file, and sum up the components of its training images."""
        schema = arrow_schema(features_columns(include_pixels=self.arguments.include_pixels))
        stored = stored_columns(include_pixels=self.arguments.include_pixels)
        sums: list[ComponentSums] = []
        app_sums: list[ComponentSums] = []
        part = self.projection.part(MODEL_FAMILY) if self.projection.model else None

        def projected() -> Iterator[pa.Table]:
            names = [column.name for column in stored if column.name != "etag"]
            for rows in chain.from_iterable(selection.read(self.cache, names) for selection in file.rows):
                features = as_matrix(combine_chunks(rows["features"]))
                training = [rows[name].to_numpy() for name in _TRAINING]
                components = self.projection.project(features)
                sums.append(ComponentSums.of(components, *training))
                if part:
                    embeddings = features[:, self.projection.columns(MODEL_FAMILY)]
                    app_sums.append(ComponentSums.of(part.project(embeddings), *training))
                yield self._table(rows, components, schema)

        metadata = file_metadata(self.arguments, self.projection)
        written = write_parquet(self.features, file.name, schema, projected(), metadata)
        return WrittenFeatures((written,), fit.merge_all(sums), fit.merge_all(app_sums) if part else None)

    def _table(self, rows: pa.Table, components: NDArray[np.float32], schema: pa.Schema) -> pa.Table:
        """Add the columns `path` and `pca`."""
        computed = {
            "path": paths(self.arguments.bucket, rows["key"]),
            "pca": as_array(components, schema.field("pca").type),
        }
        columns = [computed[name] if name in computed else rows[name] for name in schema.names]
        return pa.Table.from_arrays(columns, schema=schema)


def write_quarantine(rejected: Iterable[pa.Table], folder: str, arguments: Arguments) -> WrittenFile:
    """Write the rejected images as one file, in order. The file is written even if no image was rejected."""
    return write_parquet(folder, "part-00000.parquet", arrow_schema(QUARANTINE), rejected, file_metadata(arguments))


def write_parquet(
    folder: str, name: str, schema: pa.Schema, tables: Iterable[pa.Table], metadata: Mapping[str, object]
) -> WrittenFile:
    """Write one Parquet file. Each table is written while the next one is computed.

    Args:
        folder: URI of the folder.
        name: Name of the file. It appears once it is complete.
        schema: Schema of the file.
        tables: Tables with this schema.
        metadata: Value of `schemas.METADATA_KEY` in the file's metadata.
    """
    order = [(column, "ascending") for column in ("category", "path")] if "category" in schema.names else []
    rows = 0
    with (
        object_store.writing(folder, name) as sink,
        pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVELS,
            use_dictionary=[column for column in ("split", "category", "stage", "reason") if column in schema.names],
            write_statistics=[column for column in schema.names if column not in _WITHOUT_STATISTICS],
            write_page_checksum=True,
            sorting_columns=pq.SortingColumn.from_ordering(schema, order),
        ) as writer,
    ):
        writer.add_key_value_metadata({METADATA_KEY: json.dumps(metadata, sort_keys=True)})
        with closing(BackgroundWriter()) as background:
            for table in tables:
                rows += table.num_rows
                background.call(writer.write_table, table)
    return WrittenFile(name, rows, sink.size)


def file_metadata(arguments: Arguments, projection: Projection | None = None) -> Mapping[str, object]:
    """Return the metadata of a file (see `schemas.METADATA`), with a projection for files with a column `pca`."""
    metadata = {"version": __version__, "arguments": asdict(arguments)}
    return {**metadata, "projection": projection.version} if projection else metadata
