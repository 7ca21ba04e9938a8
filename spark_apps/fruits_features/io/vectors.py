"""Vectors in columns of Arrow tables: conversions between matrices, lists and bytes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def as_array(values: object, data_type: pa.DataType) -> pa.Array:
    """Return values as an Arrow array.

    Args:
        values: Sequence of values, an Arrow array of the type, or a matrix, n x d, whose rows become lists without a
            Python object per number.
        data_type: Type of the array; a list type for a matrix.
    """
    if isinstance(values, pa.Array):
        return values
    if not isinstance(values, np.ndarray):
        return pa.array(values, data_type)
    width = values.size // max(1, len(values))
    offsets = np.arange(0, values.size + 1, max(1, width), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)), type=data_type)


def as_matrix(lists: pa.Array) -> NDArray[np.float32]:
    """Return a view of n lists of d float32 each as a matrix, n x d."""
    return np.asarray(lists.flatten()).reshape(len(lists), -1)


def pack(lists: pa.Array) -> pa.Array:
    """Convert lists of equal length of float32 to bytes, which Parquet writes and reads several times as fast.

    The bytes have the machine's order. All supported machines are little-endian.
    """
    matrix = as_matrix(lists)
    ends = np.arange(len(matrix) + 1, dtype=np.int32) * np.int32(matrix.itemsize * matrix.shape[1])
    return pa.Array.from_buffers(pa.binary(), len(matrix), [None, pa.py_buffer(ends), pa.py_buffer(matrix)])


def pack_arrays(arrays: Sequence[NDArray[np.uint8]]) -> pa.Array:
    """Convert arrays of bytes to a binary column. A single array is not copied, since it may be large.

    >>> pack_arrays([np.array([[65], [66]], np.uint8), np.array([67], np.uint8)]).to_pylist()
    [b'AB', b'C']
    """
    flat = [array.reshape(-1) for array in arrays]
    ends = np.cumsum([0, *(array.size for array in flat)], dtype=np.int32)
    joined = flat[0] if len(flat) == 1 else np.concatenate([np.empty(0, np.uint8), *flat])
    return pa.Array.from_buffers(pa.binary(), len(flat), [None, pa.py_buffer(ends), pa.py_buffer(joined)])


def unpack(packed: pa.Array, data_type: pa.DataType) -> pa.Array:
    """Convert the bytes that `pack` returned back to lists of float32.

    >>> lists = pa.array([[1, 2], [3, 4]], pa.list_(pa.float32()))
    >>> unpack(pack(lists)[1:], lists.type).to_pylist()
    [[3.0, 4.0]]
    """
    _, ends, values = packed.buffers()
    first, last = np.frombuffer(ends, np.int32)[[packed.offset, packed.offset + len(packed)]]
    return as_array(np.frombuffer(values, np.uint8)[first:last].view(np.float32).reshape(len(packed), -1), data_type)


def unit_vectors(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows of a matrix, n x d, with length 1. Their inner products are cosines. Zero rows stay zero.

    >>> unit_vectors(np.float32([[3, 4], [0, 0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0), np.float32)
