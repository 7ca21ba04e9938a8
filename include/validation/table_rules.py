"""Rules of the tables: columns and types of `fruits_features.schemas`, and conditions for values.

`value_rules` returns the conditions of the values of each column. They are applied to one batch at a time, and the rows
that break a rule are counted. This module needs pyarrow and NumPy only, because it also runs on clusters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_features import schemas
from fruits_features.contract.rejections import Reason, Stage
from fruits_features.imaging.normalize import DESCRIPTOR_BYTES
from include.validation.checks import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fruits_features.schemas import Column


class Rule(NamedTuple):
    """Rule for all values of a column.

    Args:
        predicate: The rule as the predicate of a sentence about the column, such as "is finite".
        holds: Function that returns for each row of a batch whether the rule holds. Null values break no rule.
    """

    predicate: str
    holds: Callable[[pa.RecordBatch], pa.BooleanArray]


def value_rules(bucket: str, *, features: int, components: int) -> dict[str, tuple[Rule, ...]]:
    """Return the rules of the values of each column.

    Args:
        bucket: Bucket of the images.
        features: Length of the vectors in the column `features`.
        components: Length of the vectors in the column `pca`.
    """
    prefix = f"s3://{bucket}/"
    return {
        "path": (Rule(f"begins with {prefix}", lambda rows: pc.starts_with(rows["path"], prefix)),),
        "category": (_not_empty("category"),),
        "width": (_at_least("width", 1),),
        "height": (_at_least("height", 1),),
        "keypoints": (_at_least("keypoints", 0),),
        "descriptors": (
            Rule(
                f"has {DESCRIPTOR_BYTES} bytes a keypoint",
                lambda rows: pc.equal(_bytes(rows["descriptors"]), _product(rows["keypoints"], DESCRIPTOR_BYTES)),
            ),
        ),
        "features": _vector("features", features),
        "pca": _vector("pca", components),
        "image": (
            Rule(
                "has 3 bytes a pixel",
                lambda rows: pc.equal(_bytes(rows["image"]), _product(rows["width"], rows["height"], 3)),
            ),
        ),
        "size": (_at_least("size", 0),),
        "stage": (Rule("is a known stage", lambda rows: _is_in(rows["stage"], Stage)),),
        "reason": (Rule("is a known reason", lambda rows: _is_in(rows["reason"], Reason)),),
        "detail": (_not_empty("detail"),),
    }


def _vector(name: str, length: int) -> tuple[Rule, ...]:
    return (
        Rule(f"has {length} values", lambda rows: pc.equal(pc.list_value_length(rows[name]), length)),
        Rule("is finite", lambda rows: _all_finite(rows[name])),
    )


def _all_finite(lists: pa.ListArray) -> pa.BooleanArray:
    finite = np.ones(len(lists), bool)
    values = np.isfinite(lists.flatten().to_numpy(zero_copy_only=False))
    if not values.all():
        finite[pc.list_parent_indices(lists).to_numpy()[~values]] = False
    return pa.array(finite)


def _at_least(name: str, limit: int) -> Rule:
    return Rule(f"is at least {limit}", lambda rows: pc.greater_equal(rows[name], limit))


def _not_empty(name: str) -> Rule:
    return Rule("is not empty", lambda rows: pc.greater(pc.binary_length(rows[name]), 0))


def _not_null(name: str) -> Rule:
    return Rule("is not null", lambda rows: pc.is_valid(rows[name]))


def _is_in(values: pa.Array, names: Iterable[str]) -> pa.BooleanArray:
    return pc.is_in(values, pa.array([str(name) for name in names]))


def _bytes(values: pa.Array) -> pa.Int64Array:
    return pc.cast(pc.binary_length(values), pa.int64())


def _product(first: pa.Array, *others: pa.Array | int) -> pa.Int64Array:
    product = pc.cast(first, pa.int64())
    for other in others:
        product = pc.multiply(product, other)
    return product


@dataclass
class TableCounts:
    """Number of rows of a table, and of the rows that break each rule."""

    rows: int = 0
    violations: Counter[str] = field(default_factory=Counter)

    def merge(self, other: TableCounts) -> TableCounts:
        """Return the counts of both."""
        return TableCounts(self.rows + other.rows, self.violations + other.violations)


@dataclass(frozen=True)
class TableRules:
    """Rules of one table.

    Args:
        name: Name of the table.
        columns: Columns of the table, in order.
        rules: Rules of values by column. Rules of other columns are ignored.
    """

    name: str
    columns: Sequence[Column]
    rules: Mapping[str, Sequence[Rule]]

    def schema_check(self, found: Iterable[pa.Schema]) -> Check:
        """Compare columns, types and nullability of each file with the schema."""
        expected, found = schemas.arrow_schema(self.columns), list(found)
        if not found:
            return Check(f"{self.name}: columns and types", passed=False, saw="no file", wanted=_one_line(expected))
        actual = next((schema for schema in found if schema != expected), expected)
        return Check.equal(f"{self.name}: columns and types", _one_line(actual), _one_line(expected))

    def count(self, rows: pa.RecordBatch) -> TableCounts:
        """Count the rows of a batch that break a rule."""
        broken = {name: pc.sum(pc.invert(rule.holds(rows))).as_py() or 0 for name, rule in self._rules.items()}
        return TableCounts(rows.num_rows, Counter({name: number for name, number in broken.items() if number}))

    def checks(self, counts: TableCounts) -> Iterator[Check]:
        """Yield a check per rule, with the number of rows that break it. An empty table has no values to check."""
        if not counts.rows:
            yield Check.not_checked(f"{self.name}: values of all columns", "the table is empty")
            return
        for name in self._rules:
            yield Check.none(f"{self.name}: {name}", "rows break it", counts.violations[name])

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        """All rules of this table by name."""
        rules = {f"{column.name} is not null": _not_null(column.name) for column in self.columns if not column.nullable}
        for column in self.columns:
            rules |= {f"{column.name} {rule.predicate}": rule for rule in self.rules.get(column.name, ())}
        return rules


def _one_line(schema: object) -> str:
    return ", ".join(str(schema).split("\n"))
