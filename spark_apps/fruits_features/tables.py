"""Arrow tables as bytes: what travels to the workers, and what is kept of described images."""

import pyarrow as pa
import pyarrow.parquet as pq

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


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
