"""Opens the tables of the published run, or of an earlier one.

    import polars as pl
    from fruits_features import dataset

    limes = dataset.open("s3://fruits").filter(pl.col("category") == "Limes").collect()
    before = dataset.open("s3://fruits", as_of="2026-11-20").collect()
    vectors, labels = dataset.matrix_and_labels("s3://fruits", split="Training")

Follows `latest.json` and its earlier versions. So it never opens a run that is incomplete or has not passed validation.
Needs polars, pyarrow and obstore. Finds credentials like boto3, which is needed for profiles only, and looks up the
bucket's region.
"""

from datetime import date
from typing import Literal, get_args

import numpy as np
import polars as pl
import pyarrow.dataset as ds
from numpy.typing import NDArray
from pyarrow.fs import FileSystem

from fruits_features.contract.layout import DEFAULT_DATASET
from fruits_features.io import s3_access
from fruits_features.io.checked_parquet import CHECKED_PARQUET
from fruits_features.publications import DamagedPointerError, NothingPublishedError, name_of, published

Table = Literal["features", "quarantine", "inventory"]
"""Name of a table."""
_TABLES: tuple[Table, ...] = get_args(Table)
Vectors = Literal["pca", "features"]
"""Name of a column of vectors in the table `features`."""
_VECTORS: tuple[Vectors, ...] = get_args(Vectors)

__all__ = ["DamagedPointerError", "NothingPublishedError", "matrix_and_labels", "open", "published"]


def open(  # noqa: A001 - used with the name of its module, like `gzip.open`
    bucket: str,
    table: Table = "features",
    *,
    run: str | None = None,
    as_of: str | date | None = None,
    dataset: str = DEFAULT_DATASET,
) -> pl.LazyFrame:
    """Open a table of a published run lazily. Rows are read when the frame is collected.

    Args:
        bucket: `s3://<bucket>`.
        table: Name of the table. docs/reference/data-dictionary.md lists the columns.
        run: Name of a run; the published run by default. Excludes `as_of`.
        as_of: Time that selects the run published then, as in `published`.
        dataset: Name of the data set.

    Raises:
        DamagedPointerError: The pointer to the run is damaged.
        NothingPublishedError: The bucket does not contain the run or the data set.
        S3AccessError: There are no credentials, or S3 rejected them.
        ValueError: There is no such table; or as for `published`.
    """
    if table not in _TABLES:
        raise ValueError(f"{table!r} is not a table; choose one of {', '.join(_TABLES)}.")
    uri = published(bucket, run=run, as_of=as_of, dataset=dataset)["paths"][table]
    return scan(uri, s3_access.open_filesystem(name_of(bucket)))


def scan(uri: str, files: FileSystem) -> pl.LazyFrame:
    """Open a folder of Parquet files lazily.

    Polars' own reader of S3 is not used, because it requests ranges that some S3 servers reject.

    Args:
        uri: `s3://bucket/prefix`.
        files: File system of the bucket.
    """
    return pl.scan_pyarrow_dataset(ds.dataset(uri.removeprefix("s3://"), filesystem=files, format=CHECKED_PARQUET))


def matrix_and_labels(  # noqa: PLR0913 - choices of a run, of its rows and of a column
    bucket: str,
    *,
    split: str | None = None,
    column: Vectors = "pca",
    run: str | None = None,
    as_of: str | date | None = None,
    dataset: str = DEFAULT_DATASET,
) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Return the images' vectors and categories of a published run, as classifiers of scikit-learn take them.

    Args:
        bucket: `s3://<bucket>`.
        split: Split to read: Training, Validation or Test. All images by default.
        column: Vectors to read: `pca`, or `features` before the reduction.
        run: Name of a run; the published run by default. Excludes `as_of`.
        as_of: Time that selects the run published then, as in `published`.
        dataset: Name of the data set.

    Returns:
        The matrix, n x d, and the n categories. Both are in the order of the rows of `open`.

    Raises:
        DamagedPointerError: The pointer to the run is damaged.
        NothingPublishedError: The bucket does not contain the run or the data set.
        S3AccessError: There are no credentials, or S3 rejected them.
        ValueError: The run has no image of the split, or the column has no vectors. Or as for `published`.
    """
    _check_vectors(column)  # before any request
    return select(open(bucket, run=run, as_of=as_of, dataset=dataset), split, column)


def select(
    features: pl.LazyFrame, split: str | None, column: Vectors = "pca"
) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Return the images' vectors and categories of a table `features`, as `matrix_and_labels` does.

    Raises:
        ValueError: The table has no image of the split.
    """
    rows = features.select(column, "category", "split").collect()
    chosen = rows if split is None else rows.filter(pl.col("split") == split)
    if chosen.is_empty():
        splits = ", ".join(rows["split"].drop_nulls().unique().sort()) or "none"
        raise ValueError(f"The run has no images of the split {split!r}. Its splits: {splits}.")
    return matrix_of(chosen[column]), chosen["category"].to_numpy().astype(np.str_)


def _check_vectors(column: str) -> None:
    if column not in _VECTORS:
        raise ValueError(f"The column {column!r} has no vectors; choose one of {', '.join(_VECTORS)}.")


def matrix_of(vectors: pl.Series) -> NDArray[np.float32]:
    """Return a column of n lists of d numbers each as a matrix, n x d.

    >>> matrix_of(pl.Series([[1.0, 2.0], [3.0, 4.0]])).shape
    (2, 2)
    """
    return vectors.explode().to_numpy(writable=True).reshape(len(vectors), -1)
