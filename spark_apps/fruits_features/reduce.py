"""Reducing with Spark: features to moments, moments to a projection, the projection to the final rows.

Wiring only; the mathematics are `components`' and `projection`'s.
"""

import math
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from fruits_features.arguments import Arguments
from fruits_features.components import Moments, ReductionError, fit, merge_all
from fruits_features.projection import Projection
from fruits_features.schemas import arrow_schema, features_columns
from fruits_features.tables import spark_schema

FITTED_SPLIT = "Training"
FILE_BYTES = 128 * 1024 * 1024
"""About what one Parquet file holds."""

_MOMENTS = "count bigint, mean binary, scatter binary"


def fit_projection(described: DataFrame, arguments: Arguments) -> Projection:
    """Fit the projection on the training images, or on all where nothing says which these are.

    Raises:
        ReductionError: when there is nothing to fit, or not enough for what was asked.
    """
    training = described.where(sf.col("split") == FITTED_SPLIT)
    fitted = described if training.isEmpty() else training
    parts = fitted.select("features").mapInArrow(_moments, _MOMENTS).collect()
    moments = merge_all(
        Moments(
            part["count"],
            np.frombuffer(part["mean"]),
            np.frombuffer(part["scatter"]).reshape(-1, len(part["mean"]) // 8),
        )
        for part in parts
    )
    if moments is None:
        raise ReductionError("No image could be described, so there is nothing to reduce; see the quarantine.")
    return fit(moments, arguments.features, k=arguments.k, explained_variance=arguments.explained_variance)


def write_features(described: DataFrame, projection: Projection, path: str, *, include_pixels: bool) -> None:
    """Write the final rows, sorted by category and path."""
    columns = features_columns(include_pixels=include_pixels)
    staged = [column.name for column in columns if column.name != "pca"]
    project = partial(_project, projection=projection, include_pixels=include_pixels)
    (
        described.select(*staged)
        .repartitionByRange(_files(described, projection.k), "category", "path")
        .sortWithinPartitions("category", "path")
        .mapInArrow(project, spark_schema(columns))
        .write.mode("overwrite")
        .option("compression", "zstd")
        .parquet(path)
    )


def _files(described: DataFrame, k: int) -> int:
    """Tell how many files of the wanted size the rows fill."""
    variable = [name for name in ("descriptors", "features", "image") if name in described.columns]
    bytes_a_row = sum((sf.octet_length(name) for name in variable), start=sf.lit(4 * k))
    total = described.agg(sf.sum(bytes_a_row)).first()
    return max(1, math.ceil((total[0] or 0) / FILE_BYTES)) if total else 1


def _moments(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Compute a partition's moments: one row, or none for no rows."""
    whole = merge_all(Moments.of(_matrix(batch["features"])) for batch in batches if batch.num_rows)
    if whole is not None:
        yield pa.RecordBatch.from_pydict(
            {"count": [whole.count], "mean": [whole.mean.tobytes()], "scatter": [whole.scatter.tobytes()]}
        )


def _project(
    batches: Iterable[pa.RecordBatch], projection: Projection, *, include_pixels: bool
) -> Iterator[pa.RecordBatch]:
    """Turn staged rows into final ones."""
    schema = arrow_schema(features_columns(include_pixels=include_pixels))
    for batch in batches:
        features = _matrix(batch["features"])
        vectors = {"features": features, "pca": projection.project(features)}
        yield pa.RecordBatch.from_arrays(
            [
                _lists(vectors[field.name], field.type) if field.name in vectors else batch[field.name]
                for field in schema
            ],
            schema=schema,
        )


def _matrix(column: pa.Array) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """View a column of equally long binaries as rows of float32, n x d."""
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, np.float32).reshape(len(column), -1)


def _lists(matrix: np.ndarray[tuple[int, int], np.dtype[np.float32]], kind: pa.ListType) -> pa.Array:
    """Turn rows of a matrix into a column of lists, without a Python object a number."""
    offsets = np.arange(0, matrix.size + 1, max(1, matrix.shape[1]), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.reshape(-1)), type=kind)
