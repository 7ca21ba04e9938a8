"""The contract of each table, as pandera schemas: columns and types of `fruits_features.schemas`, and rules for values.

The rules are data: `value_rules` says for every column what a value must be. A schema is applied to a batch at a time,
and the rows that break a rule are counted.
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
    """What every value of a column must be.

    Args:
        words: the rule, as said of the column.
        figure: of each row, a number or a word; vectors themselves are too long to be told when they break a rule.
        check: what the figure must be.
    """

    words: str
    figure: pl.Expr
    check: pandera.Check


def value_rules(bucket: str, *, features: int, components: int) -> dict[str, tuple[Rule, ...]]:
    """Say what a value of each column must be.

    Args:
        bucket: where the images lie.
        features: length of the vectors in the column `features`.
        components: length of the vectors in the column `pca`.
    """
    column, check = pl.col, pandera.Check
    start = f"s3://{bucket}/"
    bytes_a_keypoint = column("descriptors").bin.size() - column("keypoints") * DESCRIPTOR_BYTES
    bytes_a_pixel = column("image").bin.size() - column("width") * column("height") * 3
    return {
        "path": (Rule(f"begins with {start}", column("path"), check.str_startswith(start)),),
        "category": (_not_empty("category"),),
        "width": (Rule("is at least 1", column("width"), check.ge(1)),),
        "height": (Rule("is at least 1", column("height"), check.ge(1)),),
        "keypoints": (Rule("is at least 0", column("keypoints"), check.ge(0)),),
        "descriptors": (Rule(f"has {DESCRIPTOR_BYTES} bytes a keypoint", bytes_a_keypoint, check.eq(0)),),
        "features": _vector("features", features),
        "pca": _vector("pca", components),
        "image": (Rule("has 3 bytes a pixel", bytes_a_pixel, check.eq(0)),),
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
class Contract:
    """One table's contract, and how many rows seen so far break each of its rules.

    Args:
        name: the table's.
        columns: what it must have, in order.
        rules: of values, by column; those of other tables' columns are left aside.
    """

    name: str
    columns: Sequence[Column]
    rules: Mapping[str, Sequence[Rule]]
    _broken: Counter[str] = field(default_factory=Counter)

    def schema_check(self, table: Table) -> Check:
        """Compare columns and types, nullability included, with what every file declares."""
        wanted = schemas.arrow_schema(self.columns)
        other = next((found for found in table.schemas() if found != wanted), wanted)
        return Check.equal(f"{self.name}: columns and types", _words(other), _words(wanted))

    def see(self, batch: pl.DataFrame) -> None:
        """Count the rows of a batch that break a rule."""
        figures = batch.select(rule.figure.alias(name) for name, rule in self._rules.items())
        try:
            self._schema.validate(figures, lazy=True)
        except SchemaErrors as errors:
            for error in errors.schema_errors:
                self._broken[str(error.column_name)] += len(cast("pl.DataFrame", error.failure_cases))

    def read(self, table: Table) -> Iterator[Check]:
        """Read a whole table, then tell."""
        for batch in table.batches():
            self.see(batch)
        return self.checks()

    def checks(self) -> Iterator[Check]:
        """Tell of each rule how many rows break it."""
        for name in self._rules:
            yield Check.none(f"{self.name}: {name}", "rows break it", self._broken[name])

    @cached_property
    def _schema(self) -> pandera.DataFrameSchema:
        """All rules as pandera holds them against figures."""
        return pandera.DataFrameSchema(
            {name: pandera.Column(checks=rule.check, nullable=True) for name, rule in self._rules.items()}
        )

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        """Give all rules of this table by what they say."""
        told = {f"{column.name} is not null": _not_null(column.name) for column in self.columns if not column.nullable}
        for column in self.columns:
            told |= {f"{column.name} {rule.words}": rule for rule in self.rules.get(column.name, ())}
        return told


def _words(schema: object) -> str:
    return ", ".join(str(schema).split("\n"))
