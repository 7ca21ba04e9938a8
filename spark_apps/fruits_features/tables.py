"""Arrow tables as bytes, which travel to the workers and are kept of described images; and vectors in their columns."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_COMPRESSED = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1))
"""31 bytes a row of the inventory, most of it the ETag's 16; 57 with lz4, in two thirds of the time: 0.1 ms for 1,000
rows. Spark warns of tasks above 1 MB."""


def to_bytes(table: pa.Table) -> bytes:
    """Write a table, quickly rather than small.

    >>> from_bytes(to_bytes(pa.table({"k": [1, 2]})))["k"].to_pylist()
    [1, 2]
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_COMPRESSED) as writer:
        writer.write_table(table)
    return bytes(memoryview(sink.getvalue()))


def from_bytes(data: bytes) -> pa.Table:
    """Read what `to_bytes` wrote."""
    with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
        return reader.read_all()


def to_parquet(table: pa.Table, group_rows: int) -> bytes:
    """Write a table as Parquet, to be read again soon: lz4, no statistics, and no more rows in a row group than given.

    >>> from_parquet(to_parquet(pa.table({"k": [1, 2]}), 10))["k"].to_pylist()
    [1, 2]
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="lz4", use_dictionary=False, write_statistics=False, row_group_size=group_rows
    )
    return bytes(memoryview(sink.getvalue()))


def from_parquet(data: bytes) -> pa.Table:
    """Read what `to_parquet` wrote."""
    return pq.read_table(pa.BufferReader(data), use_threads=False)


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Give a column in one piece; pyarrow's `combine_chunks` copies it even where it has only one.

    >>> whole(pa.chunked_array([[1], [2, 3]])).to_pylist()
    [1, 2, 3]
    """
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def as_array(values: object, kind: pa.DataType) -> pa.Array:
    """Make an Arrow array; of lists from the rows of a matrix, without a Python object a number."""
    if not isinstance(values, np.ndarray):
        return pa.array(values, kind)
    width = values.size // max(1, len(values))
    offsets = np.arange(0, values.size + 1, max(1, width), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)), type=kind)


def as_matrix(lists: pa.Array) -> NDArray[np.float32]:
    """View an array of equally long lists as rows of float32, n x d."""
    return np.asarray(lists.flatten()).reshape(len(lists), -1)


def pack(lists: pa.Array) -> pa.Array:
    """Turn equally long lists of float32 into bytes, which Parquet writes and reads several times as fast.

    In the machine's order, which is little-endian wherever we run.
    """
    matrix = as_matrix(lists)
    ends = np.arange(len(matrix) + 1, dtype=np.int32) * np.int32(matrix.itemsize * matrix.shape[1])
    return pa.Array.from_buffers(pa.binary(), len(matrix), [None, pa.py_buffer(ends), pa.py_buffer(matrix)])


def unpack(packed: pa.Array, kind: pa.DataType) -> pa.Array:
    """Undo `pack`.

    >>> lists = pa.array([[1, 2], [3, 4]], pa.list_(pa.float32()))
    >>> unpack(pack(lists)[1:], lists.type).to_pylist()
    [[3.0, 4.0]]
    """
    _, ends, values = packed.buffers()
    first, last = np.frombuffer(ends, np.int32)[[packed.offset, packed.offset + len(packed)]]
    return as_array(np.frombuffer(values, np.uint8)[first:last].view(np.float32).reshape(len(packed), -1), kind)
