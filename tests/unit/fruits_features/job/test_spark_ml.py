"""The files of the Spark ML model say what Spark would say. That Spark loads them is shown in `tests/spark`."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyspark.ml.linalg import MatrixUDT, VectorUDT
from pyspark.sql.types import StructType

from fruits_features.contract.families import total_dimension
from fruits_features.job import spark_ml
from fruits_features.pca.fit import Moments, fit


def test_columns_are_declared_in_sparks_own_words(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(20, total_dimension(["color"]))).astype(np.float32)
    projection = fit(Moments.of(features), ["color"], k=2, explained_variance=None)

    spark_ml.save(projection, str(tmp_path))

    vector, matrix = VectorUDT(), MatrixUDT()
    assert _words(tmp_path / "stages/0_fruits_scaler") == StructType().add("std", vector).add("mean", vector)
    assert _words(tmp_path / "stages/1_fruits_pca") == StructType().add("pc", matrix).add("explainedVariance", vector)


def _words(stage: Path) -> StructType:
    metadata = pq.read_schema(stage / "data" / "part-00000.parquet").metadata
    return StructType.fromJson(json.loads(metadata[b"org.apache.spark.sql.parquet.row.metadata"]))
