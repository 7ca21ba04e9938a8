"""One run over all image formats, read with each library by the code of the data dictionary."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import fruits_features
from fruits_features.contract.layout import RunLayout
from fruits_features.job import run
from include.dev import data_dictionary
from tests.spark.test_job import arguments, fill
from tests.support import pictures
from tests.support.buckets import Bucket

EXTENSIONS = (".JPG", ".png", ".Tiff", ".txt", "")


@pytest.fixture(scope="module")
def features(spark: SparkSession, s3_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The features of a run over photographs and one picture in each format, with unrelated extensions."""
    bucket = Bucket("readers", s3_folder / "readers", tmp_path_factory.mktemp("readers"))
    fill(bucket)
    for number, (name, stored) in enumerate(pictures.stored().items()):
        bucket.put(f"images/Pictures/{name}{EXTENSIONS[number % len(EXTENSIONS)]}", stored.data)
    run.run(lambda: spark.sparkContext, arguments(bucket, k=3, include_pixels=True))
    return RunLayout(str(bucket.runs / "run")).features


@pytest.fixture(scope="module")
def read(spark: SparkSession, features: str) -> dict[str, Any]:
    """Variables that the data dictionary's Python examples define."""
    names: dict[str, Any] = {"features": features, "spark": spark}
    page = data_dictionary.render().partition("Other readers")[2]
    _, *examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        exec(example, names)  # noqa: S102 - our own page
    return names


@pytest.fixture(scope="module")
def expected(features: str) -> list[dict[str, Any]]:
    return pq.read_table(features).to_pylist()


def test_run_over_each_format_extracts_all_whatever_their_extension(expected: list[dict[str, Any]]) -> None:
    pictures_rows = [row for row in expected if row["category"] == "Pictures"]

    assert len(pictures_rows) == len(pictures.stored())
    assert {(row["height"], row["width"], row["split"]) for row in pictures_rows} == {(40, 60, None)}
    corners = {
        row["path"]: np.frombuffer(row["image"], np.uint8).reshape(40, 60, 3)[5, 5].tolist() for row in pictures_rows
    }
    assert [path for path, (red, green, blue) in corners.items() if red < max(green, blue)] == []


def test_pandas_reads_every_column(read: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    frame = read["from_pandas"]

    assert frame.dtypes.astype(str).to_dict() == {
        **dict.fromkeys(("path", "split", "category"), "str"),
        **dict.fromkeys(("width", "height", "keypoints"), "int32"),
        **dict.fromkeys(("descriptors", "features", "pca", "image"), "object"),
    }
    assert frame["pca"][0].dtype == frame["features"][0].dtype == np.float32
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    assert [
        {name: getattr(value, "tolist", lambda v=value: v)() for name, value in row.items()} for row in rows
    ] == expected
    assert read["descriptors"].shape == (expected[0]["keypoints"], 32)
    assert (read["vectors"].shape, read["vectors"].dtype) == ((len(expected), 3), np.float32)


def test_polars_reads_every_column(read: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    frame = read["from_polars"]

    assert dict(frame.schema) == {
        **dict.fromkeys(("path", "split", "category"), pl.String),
        **dict.fromkeys(("width", "height", "keypoints"), pl.Int32),
        **dict.fromkeys(("descriptors", "image"), pl.Binary),
        **dict.fromkeys(("features", "pca"), pl.List(pl.Float32)),
    }
    assert frame.to_dicts() == expected


def test_duckdb_reads_every_column(read: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    relation = read["from_duckdb"]

    assert dict(zip(relation.columns, map(str, relation.types), strict=True)) == {
        **dict.fromkeys(("path", "split", "category"), "VARCHAR"),
        **dict.fromkeys(("width", "height", "keypoints"), "INTEGER"),
        **dict.fromkeys(("descriptors", "image"), "BLOB"),
        **dict.fromkeys(("features", "pca"), "FLOAT[]"),
    }
    assert [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()] == expected


def test_spark_reads_every_column(read: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    frame = read["from_spark"]

    assert dict(frame.dtypes) == {
        **dict.fromkeys(("path", "split", "category"), "string"),
        **dict.fromkeys(("width", "height", "keypoints"), "int"),
        **dict.fromkeys(("descriptors", "image"), "binary"),
        **dict.fromkeys(("features", "pca"), "array<float>"),
    }
    assert [row.asDict() for row in frame.collect()] == expected


def test_run_writes_one_sorted_compressed_file_with_metadata(features: str, read: dict[str, Any]) -> None:
    (path,) = Path(features).iterdir()
    file = pq.ParquetFile(path)
    rows = file.read(["category", "path"])

    assert rows.sort_by([("category", "ascending"), ("path", "ascending")]) == rows
    group = file.metadata.row_group(0)
    assert [column.column_index for column in group.sorting_columns] == [2, 0]
    assert {group.column(number).compression for number in range(group.num_columns)} == {"ZSTD"}
    assert read["about"]["version"] == fruits_features.__version__
    assert (read["about"]["arguments"]["k"], read["about"]["arguments"]["include_pixels"]) == (3, True)
