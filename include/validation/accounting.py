"""Check that each inventoried object is in exactly one table, with its split and category, and that no other is.

Rows are compared by key. Large tables are compared in shares: the hash of a key decides to which share it belongs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from include.validation.checks import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.run_files import RunFiles, Table

MAX_KEYS_IN_MEMORY = 2_000_000
"""Keys in memory at a time, about 300 MB."""


def account(files: RunFiles, max_quarantine_share: float) -> Iterator[Check]:
    """Yield the checks that compare inventory, features and quarantine row by row.

    Args:
        files: Tables of the run.
        max_quarantine_share: Largest share of the inventory that may be in quarantine, from 0 to 1.
    """
    inventoried, extracted, rejected = files.inventory.rows, files.features.rows, files.quarantine.rows
    yield Check.equal("features + quarantine = inventory", extracted + rejected, inventoried)
    yield Check.at_most("quarantine: share of the inventory", rejected / max(1, inventoried), max_quarantine_share)
    shares = 1 + max(inventoried, extracted, rejected) // MAX_KEYS_IN_MEMORY
    errors: Counter[str] = Counter()
    for share in range(shares):
        errors.update(_count_errors(files, share, shares))
    yield Check.none("each key is in the tables once", "keys twice", errors["twice"])
    yield Check.none("each inventoried key is in a table", "keys missing", errors["missing"])
    yield Check.none("each key was inventoried", "keys not inventoried", errors["not inventoried"])
    yield Check.none("split and category equal the inventory's", "rows differ", errors["relabelled"])


def _count_errors(files: RunFiles, share: int, shares: int) -> dict[str, int]:
    """Count the errors among one share of the keys, by kind."""
    prefix = pl.lit(f"s3://{files.bucket}/")
    inventory = _rows(files.inventory, ["key", "split", "category"], prefix + pl.col("key"), share, shares)
    features = _rows(files.features, ["path", "split", "category"], pl.col("path"), share, shares)
    paths = pl.concat([features["path"], _rows(files.quarantine, ["path"], pl.col("path"), share, shares)["path"]])
    keys = paths.to_frame()
    labelled = features.join(inventory, on="path", how="inner", suffix="_inventoried")
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_inventoried")) for name in ("split", "category"))
    return {
        "twice": int(paths.is_duplicated().sum()) and len(paths) - paths.n_unique(),
        "missing": inventory.join(keys, on="path", how="anti").height,
        "not inventoried": keys.join(inventory, on="path", how="anti").height,
        "relabelled": labelled.filter(~same).height,
    }


def _rows(table: Table, columns: list[str], path: pl.Expr, share: int, shares: int) -> pl.DataFrame:
    """Return columns of the rows whose path belongs to a share."""
    batches = (
        batch.select(path.alias("path"), *(pl.col(name) for name in columns[1:])) for batch in table.batches(columns)
    )
    kept = [batch.filter(pl.col("path").hash() % shares == share) for batch in batches]
    names = {"path": pl.String, **dict.fromkeys(columns[1:], pl.String)}
    return pl.concat([pl.DataFrame(schema=names), *kept])
