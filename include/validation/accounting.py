"""Is every inventoried object in exactly one of the two tables, under its own split and category, and nothing else?

Rows are compared by key, whole tables at once where they are small, and share by share of the keys where they are not:
an object is always in the share that its key hashes to.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from include.validation.checks import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.run_files import RunFiles, Table

KEYS_AT_ONCE = 2_000_000
"""Keys held in memory together: some 300 MB."""


def account(files: RunFiles, max_quarantine_share: float) -> Iterator[Check]:
    """Compare inventory, features and quarantine row by row."""
    inventoried, described, rejected = files.inventory.rows, files.features.rows, files.quarantine.rows
    yield Check.equal("features + quarantine = inventory", described + rejected, inventoried)
    yield Check.at_most("quarantine: share of the inventory", rejected / max(1, inventoried), max_quarantine_share)
    shares = 1 + max(inventoried, described, rejected) // KEYS_AT_ONCE
    found: Counter[str] = Counter()
    for share in range(shares):
        found.update(_compare(files, share, shares))
    yield Check.none("keys that are in the tables twice", "keys", found["twice"])
    yield Check.none("inventoried keys that are in no table", "keys", found["missing"])
    yield Check.none("keys that were not inventoried", "keys", found["invented"])
    yield Check.none("rows whose split or category is not the inventory's", "rows", found["moved"])


def _compare(files: RunFiles, share: int, shares: int) -> dict[str, int]:
    """Count what is wrong among one share of the keys."""
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
        "invented": keys.join(inventory, on="path", how="anti").height,
        "moved": labelled.filter(~same).height,
    }


def _rows(table: Table, columns: list[str], path: pl.Expr, share: int, shares: int) -> pl.DataFrame:
    """Read some columns of the rows whose path is in a share of all."""
    batches = (
        batch.select(path.alias("path"), *(pl.col(name) for name in columns[1:])) for batch in table.batches(columns)
    )
    kept = [batch.filter(pl.col("path").hash() % shares == share) for batch in batches]
    names = {"path": pl.String, **dict.fromkeys(columns[1:], pl.String)}
    return pl.concat([pl.DataFrame(schema=names), *kept])
