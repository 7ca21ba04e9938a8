"""Arrow's types to Spark's: the one place where the columns of `schemas` become a Spark schema."""

from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import types

from fruits_features.schemas import Column

_PLAIN = {
    pa.string(): types.StringType(),
    pa.binary(): types.BinaryType(),
    pa.int32(): types.IntegerType(),
    pa.int64(): types.LongType(),
    pa.float32(): types.FloatType(),
    pa.timestamp("us", tz="UTC"): types.TimestampType(),
}


def spark_schema(columns: Sequence[Column]) -> types.StructType:
    """Make the Spark schema of columns."""
    return types.StructType(
        [types.StructField(column.name, _spark_type(column.type), column.nullable) for column in columns]
    )


def _spark_type(kind: pa.DataType) -> types.DataType:
    if isinstance(kind, pa.ListType):
        return types.ArrayType(_spark_type(kind.value_type), containsNull=kind.value_field.nullable)
    return _PLAIN[kind]
