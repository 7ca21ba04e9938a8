"""Tables that a run hands from task to task: in memory in a small run, as files of a staging folder in a large one."""

import secrets
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from fruits_features.io import arrow, object_store

StagedTable: TypeAlias = pa.Table | bytes | str
"""A table, its bytes (`arrow.to_bytes`), or the URI of a file with these bytes. `read` returns the table."""


@dataclass(frozen=True)
class Staging:
    """Place of a run's intermediate tables.

    Args:
        folder: URI of the folder; `None` for the memory of this process.
    """

    folder: str | None = None

    def keep(self, table: pa.Table) -> StagedTable:
        """Store a table for this process, or as a file."""
        return table if self.folder is None else self._write(table)

    def send(self, table: pa.Table) -> bytes | str:
        """Store a table for another process: as bytes, or as a file."""
        return arrow.to_bytes(table) if self.folder is None else self._write(table)

    def _write(self, table: pa.Table) -> str:
        name = f"{secrets.token_hex(8)}.arrow"  # another attempt at the same task writes another file
        object_store.write_bytes(str(self.folder), name, arrow.to_bytes(table))
        return f"{self.folder}/{name}"


IN_MEMORY = Staging()
"""The memory of this process."""


def read(staged: StagedTable) -> pa.Table:
    """Return a staged table.

    >>> read(IN_MEMORY.send(pa.table({"k": [1, 2]})))["k"].to_pylist()
    [1, 2]
    """
    if isinstance(staged, pa.Table):
        return staged
    return arrow.from_bytes(object_store.read(staged) if isinstance(staged, str) else staged)
