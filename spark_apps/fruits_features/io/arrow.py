"""Arrow tables as bytes: IPC streams for Spark's workers, and Parquet files for the feature cache."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

_COMPRESSION = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1))
"""zstd makes tasks about half as large as lz4 does; see docs/measurements/constants.md.

Spark warns of tasks that are larger than 1 MB.
"""


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as an Arrow IPC stream.

    >>> from_bytes(to_bytes(pa.table({"k": [1, 2]})))["k"].to_pylist()
    [1, 2]
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_COMPRESSION) as writer:
        writer.write_table(table)
    return bytes(memoryview(sink.getvalue()))


def from_bytes(data: bytes) -> pa.Table:
    """Read a table from the bytes that `to_bytes` returned."""
    with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
        return reader.read_all()


def to_parquet(table: pa.Table, max_group_rows: int) -> bytes:
    """Return a table as a Parquet file that is fast to write and read: lz4, without dictionaries or statistics.

    Its pages have checksums.

    Args:
        table: Any table.
        max_group_rows: Largest number of rows in a row group, at least 1.

    >>> from_parquet(to_parquet(pa.table({"k": [1, 2]}), 10))["k"].to_pylist()
    [1, 2]
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="lz4",
        use_dictionary=False,
        write_statistics=False,
        row_group_size=max_group_rows,
        write_page_checksum=True,
    )
    return bytes(memoryview(sink.getvalue()))


def from_parquet(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table from the content of a Parquet file. Verify the checksums of its pages.

    Args:
        data: Content of the file.
        columns: Names of the columns to read; `None` for all columns.

    Raises:
        OSError: A page has other bytes than were written.
    """
    return pq.read_table(pa.BufferReader(data), columns=columns, use_threads=False, page_checksum_verification=True)


def combine_chunks(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, without a copy if it has a single chunk.

    pyarrow's own `combine_chunks` copies a single chunk too.

    >>> combine_chunks(pa.chunked_array([[1], [2, 3]])).to_pylist()
    [1, 2, 3]
    """
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
