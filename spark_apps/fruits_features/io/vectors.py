"""Vectors in the columns of Arrow tables: from rows of numbers to lists, to bytes, and back."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


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
