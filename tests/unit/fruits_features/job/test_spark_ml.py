"""Schemas in the files of the Spark ML model. `tests/spark` tests that Spark loads them."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyspark.ml.linalg import MatrixUDT, VectorUDT
from pyspark.sql.types import StructType

from fruits_features.contract.families import total_dimension
from fruits_features.job import spark_ml
from fruits_features.pca.fit import Moments, fit


def test_schemas_equal_sparks(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(20, total_dimension(["color"]))).astype(np.float32)
    projection = fit(Moments.of(features), ["color"], k=2, explained_variance=None)

    spark_ml.save(projection, str(tmp_path))

    vector, matrix = VectorUDT(), MatrixUDT()
    assert _spark_schema(tmp_path / "stages/0_fruits_scaler") == StructType().add("std", vector).add("mean", vector)
    assert _spark_schema(tmp_path / "stages/1_fruits_pca") == StructType().add("pc", matrix).add(
        "explainedVariance", vector
    )


def _spark_schema(stage: Path) -> StructType:
    metadata = pq.read_schema(stage / "data" / "part-00000.parquet").metadata
    return StructType.fromJson(json.loads(metadata[b"org.apache.spark.sql.parquet.row.metadata"]))
