"""The projection as a Spark ML model, for those who project with Spark.

A `PipelineModel` of `StandardScalerModel` and `PCAModel`, from a vector column `features` to a vector column `pca`.
Their constructors are private to Scala only, and the same since Spark 2.0; reading and writing are Spark ML's.
"""

from typing import Any

import numpy as np
from pyspark.ml import PipelineModel
from pyspark.ml.common import _py2java
from pyspark.ml.feature import PCAModel, StandardScalerModel
from pyspark.ml.linalg import DenseMatrix, DenseVector
from pyspark.sql import SparkSession

from fruits_features.projection import Projection


def save(spark: SparkSession, projection: Projection, path: str) -> None:
    """Write the model below a path, replacing what was there."""
    to_spark_model(spark, projection).write().overwrite().save(path)


def to_spark_model(spark: SparkSession, projection: Projection) -> PipelineModel:
    """Make the Spark ML model of a projection."""
    context: Any = spark.sparkContext
    feature = context._jvm.org.apache.spark.ml.feature  # noqa: SLF001 - PySpark has no public way to a model from numbers
    scaler = feature.StandardScalerModel(
        "fruits_scaler",
        _py2java(context, DenseVector(projection.spread)),
        _py2java(context, DenseVector(projection.mean)),
    )
    _set(scaler, withMean=True, withStd=True, inputCol="features", outputCol="scaled")
    rows, columns = projection.components.shape
    pca = feature.PCAModel(
        "fruits_pca",
        _py2java(context, DenseMatrix(rows, columns, np.ravel(projection.components, "F").tolist())),
        _py2java(context, DenseVector(projection.explained_variance)),
    )
    _set(pca, k=projection.k, inputCol="scaled", outputCol="pca")
    return PipelineModel([StandardScalerModel(scaler), PCAModel(pca)])


def _set(stage: Any, **values: object) -> None:  # noqa: ANN401 - a Java object
    """Set parameters of a Java model."""
    for name, value in values.items():
        stage.set(stage.getParam(name), value)
