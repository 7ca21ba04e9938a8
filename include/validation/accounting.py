"""Check that each inventoried object is in exactly one table, with its split and category, and that no other is.

Rows are compared by key. Large tables are compared in shares: a hash of the key decides to which share it belongs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.draws import numbers
from include.validation.checks import Check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from include.run_files import RunFiles

MAX_KEYS_IN_MEMORY = 2_000_000
"""Keys in memory at a time, about 300 MB."""
_LABELS = ("split", "category")
_INVENTORY = ["key", *_LABELS]
_SCHEMA = pa.schema([(name, pa.string()) for name in ("path", *_LABELS)])
_HIGH_BITS = np.uint64(32)
"""The higher bits of a draw are the more random ones."""


def shares(files: RunFiles) -> int:
    """Return the number of shares in which the tables are compared."""
    return 1 + max(table.rows for table in (files.inventory, files.features, files.quarantine)) // MAX_KEYS_IN_MEMORY


def check(rows: Mapping[str, int], errors: Mapping[str, int], max_quarantine_share: float) -> Iterator[Check]:
    """Yield the checks that compare inventory, features and quarantine.

    Args:
        rows: Number of rows by table.
        errors: Sum of `count_errors` over all shares.
        max_quarantine_share: Largest share of the inventory that may be in quarantine, from 0 to 1.
    """
    inventoried, rejected = rows["inventory"], rows["quarantine"]
    yield Check.equal("features + quarantine = inventory", rows["features"] + rejected, inventoried)
    yield Check.at_most("quarantine: share of the inventory", rejected / max(1, inventoried), max_quarantine_share)
    yield Check.none("each key is in the tables once", "keys twice", errors["twice"])
    yield Check.none("each inventoried key is in a table", "keys missing", errors["missing"])
    yield Check.none("each key was inventoried", "keys not inventoried", errors["not inventoried"])
    yield Check.none("split and category equal the inventory's", "rows differ", errors["relabelled"])


def count_errors(files: RunFiles, share: int, of: int) -> Counter[str]:
    """Count the errors among one share of the keys, by kind.

    Args:
        files: Tables of the run.
        share: Number of the share, from 0.
        of: Number of shares.
    """
    inventory = _select(_with_paths(files.inventory.batches(_INVENTORY), files.bucket), _SCHEMA, share, of)
    features = _select(files.features.batches(_SCHEMA.names), _SCHEMA, share, of)
    only_path = pa.schema([_SCHEMA.field("path")])
    rejected = _select(files.quarantine.batches(["path"]), only_path, share, of)
    keys = pa.concat_tables([features.select(["path"]), rejected])
    return Counter(
        {
            "twice": keys.num_rows - len(pc.unique(keys["path"])),
            "missing": inventory.join(keys, "path", join_type="left anti").num_rows,
            "not inventoried": keys.join(inventory, "path", join_type="left anti").num_rows,
            "relabelled": _count_relabelled(features, inventory),
        }
    )


def count_errors_of(files: RunFiles, names: Sequence[str]) -> int:
    """Count the rows of some files of `features/` that the inventory does not have, or has with other labels.

    Args:
        files: Tables of the run. The row groups of the inventory that may have these keys are read.
        names: Names of the files.
    """
    features = _select(files.features.batches(_SCHEMA.names, names), _SCHEMA, 0, 1)
    prefix = f"s3://{files.bucket}/"
    keys = [path.removeprefix(prefix) for path in features["path"].to_pylist()]
    wanted = pa.array(keys, pa.string())
    found = [batch.filter(pc.is_in(batch["key"], wanted)) for batch in files.inventory.search("key", keys, _INVENTORY)]
    inventory = pa.Table.from_batches(_with_paths(found, files.bucket), _SCHEMA)
    missing: int = features.join(inventory, "path", join_type="left anti").num_rows
    return missing + _count_relabelled(features, inventory)


def _with_paths(batches: Iterable[pa.RecordBatch], bucket: str) -> Iterator[pa.RecordBatch]:
    """Yield rows of the inventory with the path instead of the key."""
    for key, *labels in (batch.columns for batch in batches):
        yield pa.record_batch([pc.binary_join_element_wise(f"s3://{bucket}/", key, ""), *labels], _SCHEMA)


def _count_relabelled(features: pa.Table, inventory: pa.Table) -> int:
    """Count the rows whose split or category differs from the inventory's."""
    both = features.join(inventory, "path", join_type="inner", right_suffix="_inventoried")
    same = [_equal(both[name], both[f"{name}_inventoried"]) for name in _LABELS]
    return int(both.num_rows) - int(np.logical_and(*same).sum())


def _select(batches: Iterable[pa.RecordBatch], schema: pa.Schema, share: int, of: int) -> pa.Table:
    """Return the rows whose path belongs to a share."""
    kept = [
        batch.filter(pa.array((numbers(batch["path"]) >> _HIGH_BITS) % of == share)) if of > 1 else batch
        for batch in batches
    ]
    return pa.Table.from_batches([batch.cast(schema) for batch in kept], schema)


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> np.ndarray:
    """Return whether values are equal; null equals null."""
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    return np.asarray(pc.or_(pc.fill_null(pc.equal(left, right), fill_value=False), both_null))
