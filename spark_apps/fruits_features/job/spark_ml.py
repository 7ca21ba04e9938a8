"""Saves the projection as a Spark ML model.

The model is a `PipelineModel` of a `StandardScalerModel` and a `PCAModel`. It maps a vector column `features` to a
vector column `pca`.

Spark ML creates these models only by fitting data, and saves them only with Spark SQL. The application does not need
Spark SQL otherwise, and it would add seconds to each run. So this module writes the files itself, in the format that
Spark has written since 2.0 and promises to read: https://spark.apache.org/docs/latest/ml-pipeline.html, "Backwards
compatibility for ML persistence".
"""

import io
import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark import __version__ as spark_version

from fruits_features.io import object_store
from fruits_features.projection import Projection

_SCALER, _PCA = "fruits_scaler", "fruits_pca"
_DENSE = 1
"""Type of dense vectors and matrices in Spark's format; 0 is sparse."""

_INT_LIST = pa.list_(pa.field("element", pa.int32(), nullable=False))
_DOUBLE_LIST = pa.list_(pa.field("element", pa.float64(), nullable=False))
_VECTOR = pa.struct(
    [
        pa.field("type", pa.int8(), nullable=False),
        ("size", pa.int32()),
        ("indices", _INT_LIST),
        ("values", _DOUBLE_LIST),
    ]
)
_MATRIX = pa.struct(
    [
        pa.field("type", pa.int8(), nullable=False),
        pa.field("numRows", pa.int32(), nullable=False),
        pa.field("numCols", pa.int32(), nullable=False),
        ("colPtrs", _INT_LIST),
        ("rowIndices", _INT_LIST),
        ("values", _DOUBLE_LIST),
        pa.field("isTransposed", pa.bool_(), nullable=False),
    ]
)
_TYPES = {"pc": (_MATRIX, "MatrixUDT")}
_SPARK_NAMES = {pa.int8(): "byte", pa.int32(): "integer", pa.float64(): "double", pa.bool_(): "boolean"}


def save(projection: Projection, folder: str) -> None:
    """Write the model's files. Replace an existing model."""
    object_store.remove_folder(folder)
    _write_metadata(folder, "", "PipelineModel", "fruits_projection", {"stageUids": [_SCALER, _PCA]})

    scaler = f"stages/0_{_SCALER}/"
    scaled = {"inputCol": "features", "outputCol": "scaled", "withMean": True, "withStd": True}
    _write_metadata(folder, scaler, "feature.StandardScalerModel", _SCALER, scaled)
    _write_data(folder, scaler, {"std": _vector(projection.spread), "mean": _vector(projection.mean)})

    pca = f"stages/1_{_PCA}/"
    projected = {"inputCol": "scaled", "outputCol": "pca", "k": projection.k}
    _write_metadata(folder, pca, "feature.PCAModel", _PCA, projected)
    loadings = {"pc": _matrix(projection.components), "explainedVariance": _vector(projection.explained_variance)}
    _write_data(folder, pca, loadings)


def _write_metadata(folder: str, stage: str, class_name: str, uid: str, parameters: Mapping[str, object]) -> None:
    """Write a stage's metadata as one line of JSON. The timestamp is 0, so that equal models have equal bytes."""
    line = {
        "class": f"org.apache.spark.ml.{class_name}",
        "timestamp": 0,
        "sparkVersion": spark_version,
        "uid": uid,
        "paramMap": parameters,
        "defaultParamMap": {},
    }
    object_store.write_bytes(folder, f"{stage}metadata/part-00000", f"{json.dumps(line)}\n".encode())


def _write_data(folder: str, stage: str, row: Mapping[str, Mapping[str, object]]) -> None:
    """Write a stage's vectors and matrices as one Parquet row, with Spark's schema in its metadata."""
    types = {name: _TYPES.get(name, (_VECTOR, "VectorUDT")) for name in row}
    fields = [_field(name, _user_defined(udt, arrow_type)) for name, (arrow_type, udt) in types.items()]
    spark_schema = json.dumps({"type": "struct", "fields": fields})
    schema = pa.schema([(name, arrow_type) for name, (arrow_type, _) in types.items()])
    table = pa.Table.from_pylist(
        [row], schema.with_metadata({"org.apache.spark.sql.parquet.row.metadata": spark_schema})
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    object_store.write_bytes(folder, f"{stage}data/part-00000.parquet", sink.getvalue())


def _user_defined(udt: str, stored_as: pa.DataType) -> Mapping[str, object]:
    """Return the JSON of one of Spark ML's user-defined types."""
    names = {"class": f"org.apache.spark.ml.linalg.{udt}", "pyClass": f"pyspark.ml.linalg.{udt}"}
    return {"type": "udt", **names, "sqlType": _spark_type(stored_as)}


def _spark_type(arrow_type: pa.DataType) -> object:
    if isinstance(arrow_type, pa.StructType):
        fields = [_field(field.name, _spark_type(field.type), nullable=field.nullable) for field in arrow_type]
        return {"type": "struct", "fields": fields}
    if isinstance(arrow_type, pa.ListType):
        element = arrow_type.value_field
        return {"type": "array", "elementType": _spark_type(element.type), "containsNull": element.nullable}
    return _SPARK_NAMES[arrow_type]


def _field(name: str, spark_type: object, *, nullable: bool = True) -> Mapping[str, object]:
    return {"name": name, "type": spark_type, "nullable": nullable, "metadata": {}}


def _vector(values: NDArray[np.float64]) -> Mapping[str, object]:
    """Return a dense vector in Spark's format."""
    return {"type": _DENSE, "values": values.tolist()}


def _matrix(values: NDArray[np.float64]) -> Mapping[str, object]:
    """Return a dense matrix in Spark's format, in column-major order."""
    rows, columns = values.shape
    numbers = values.ravel(order="F").tolist()
    return {"type": _DENSE, "numRows": rows, "numCols": columns, "values": numbers, "isTransposed": False}
