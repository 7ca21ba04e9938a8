"""Rules of the tables: columns and types of `fruits_features.schemas`, and pandera checks for values.

`value_rules` returns the rules of the values of each column. They are applied to one batch at a time, and the rows that
break a rule are counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, cast

import pandera.polars as pandera
import polars as pl
from pandera.errors import SchemaErrors

from fruits_features import schemas
from fruits_features.contract.rejections import Reason, Stage
from fruits_features.imaging.normalize import DESCRIPTOR_BYTES
from include.validation.checks import Check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fruits_features.schemas import Column
    from include.run_files import Table


class Rule(NamedTuple):
    """Rule for all values of a column.

    Args:
        predicate: The rule as the predicate of a sentence about the column, such as "is finite".
        figure: Expression that computes a scalar of each row. Vectors are too long to be reported themselves.
        check: Condition that the scalar must meet.
    """

    predicate: str
    figure: pl.Expr
    check: pandera.Check


def value_rules(bucket: str, *, features: int, components: int) -> dict[str, tuple[Rule, ...]]:
    """Return the rules of the values of each column.

    Args:
        bucket: Bucket of the images.
        features: Length of the vectors in the column `features`.
        components: Length of the vectors in the column `pca`.
    """
    column, check = pl.col, pandera.Check
    prefix = f"s3://{bucket}/"
    excess_descriptor_bytes = column("descriptors").bin.size() - column("keypoints") * DESCRIPTOR_BYTES
    excess_image_bytes = column("image").bin.size() - column("width") * column("height") * 3
    return {
        "path": (Rule(f"begins with {prefix}", column("path"), check.str_startswith(prefix)),),
        "category": (_not_empty("category"),),
        "width": (Rule("is at least 1", column("width"), check.ge(1)),),
        "height": (Rule("is at least 1", column("height"), check.ge(1)),),
        "keypoints": (Rule("is at least 0", column("keypoints"), check.ge(0)),),
        "descriptors": (Rule(f"has {DESCRIPTOR_BYTES} bytes a keypoint", excess_descriptor_bytes, check.eq(0)),),
        "features": _vector("features", features),
        "pca": _vector("pca", components),
        "image": (Rule("has 3 bytes a pixel", excess_image_bytes, check.eq(0)),),
        "size": (Rule("is at least 0", column("size"), check.ge(0)),),
        "stage": (Rule("is a known stage", column("stage"), check.isin([str(stage) for stage in Stage])),),
        "reason": (Rule("is a known reason", column("reason"), check.isin([str(reason) for reason in Reason])),),
        "detail": (_not_empty("detail"),),
    }


def _vector(name: str, length: int) -> tuple[Rule, ...]:
    finite = pl.col(name).list.eval(pl.element().is_finite()).list.all()
    return (
        Rule(f"has {length} values", pl.col(name).list.len(), pandera.Check.eq(length)),
        Rule("is finite", finite, pandera.Check.eq(True)),  # noqa: FBT003 - pandera's own signature
    )


def _not_empty(name: str) -> Rule:
    return Rule("is not empty", pl.col(name).str.len_bytes(), pandera.Check.ge(1))


def _not_null(name: str) -> Rule:
    return Rule("is not null", pl.col(name).is_null(), pandera.Check.eq(False))  # noqa: FBT003 - pandera's own signature


@dataclass
class TableRules:
    """Rules of one table, with the number of rows read so far that break each of them.

    Args:
        name: Name of the table.
        columns: Columns of the table, in order.
        rules: Rules of values by column. Rules of other columns are ignored.
    """

    name: str
    columns: Sequence[Column]
    rules: Mapping[str, Sequence[Rule]]
    _rows: int = 0
    _violations: Counter[str] = field(default_factory=Counter)

    def schema_check(self, table: Table) -> Check:
        """Compare columns, types and nullability of each file with the schema."""
        expected = schemas.arrow_schema(self.columns)
        found = table.schemas()
        if not found:
            return Check(f"{self.name}: columns and types", passed=False, saw="no file", wanted=_one_line(expected))
        actual = next((schema for schema in found if schema != expected), expected)
        return Check.equal(f"{self.name}: columns and types", _one_line(actual), _one_line(expected))

    def add(self, batch: pl.DataFrame) -> None:
        """Count the rows of a batch that break a rule."""
        self._rows += batch.height
        figures = batch.select(rule.figure.alias(name) for name, rule in self._rules.items())
        try:
            self._schema.validate(figures, lazy=True)
        except SchemaErrors as errors:
            for error in errors.schema_errors:
                self._violations[str(error.column_name)] += len(cast("pl.DataFrame", error.failure_cases))

    def read(self, table: Table) -> Iterator[Check]:
        """Read a complete table and return its checks."""
        for batch in table.batches():
            self.add(batch)
        return self.checks()

    def checks(self) -> Iterator[Check]:
        """Yield a check per rule, with the number of rows that break it. An empty table has no values to check."""
        if not self._rows:
            yield Check.not_checked(f"{self.name}: values of all columns", "the table is empty")
            return
        for name in self._rules:
            yield Check.none(f"{self.name}: {name}", "rows break it", self._violations[name])

    @cached_property
    def _schema(self) -> pandera.DataFrameSchema:
        """Pandera schema of the figures of all rules."""
        return pandera.DataFrameSchema(
            {name: pandera.Column(checks=rule.check, nullable=True) for name, rule in self._rules.items()}
        )

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        """All rules of this table by name."""
        rules = {f"{column.name} is not null": _not_null(column.name) for column in self.columns if not column.nullable}
        for column in self.columns:
            rules |= {f"{column.name} {rule.predicate}": rule for rule in self.rules.get(column.name, ())}
        return rules


def _one_line(schema: object) -> str:
    return ", ".join(str(schema).split("\n"))
