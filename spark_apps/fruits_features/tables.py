"""Arrow tables as bytes: what travels to the workers and what is kept between describing and reducing."""

import pyarrow as pa

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
