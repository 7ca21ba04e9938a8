"""Measure a run's files: one task per file, and one per share of the keys. Each reads its rows in batches.

Needs pyarrow and NumPy only, because it runs on an Airflow worker and on clusters. `serially` runs the tasks in this
process. On a cluster, Spark runs them (`include.validation_step`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Protocol, TypeVar
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_features import schemas
from fruits_features.contract.layout import FITTED_SPLIT
from fruits_features.io.vectors import as_matrix
from include.draws import draw
from include.run_files import RunFiles
from include.validation import accounting
from include.validation.feature_checks import VectorStatistics
from include.validation.figures import Figures, merge_samples
from include.validation.recogniser_checks import CategoryMeans
from include.validation.recogniser_drop import PairedCounts
from include.validation.recognition import recognise
from include.validation.table_rules import TableRules, value_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fruits_features.contract.arguments import Arguments
    from fruits_features.projection import Projection
    from fruits_features.recogniser.model import Recogniser
    from include.run_files import Table
    from include.validation.checks import Check
    from include.validation.recogniser_drop import PairedRecognition

_A = TypeVar("_A")
_T = TypeVar("_T")


class Reduce(Protocol):
    """Calls a function with each argument, and merges the results in any order."""

    def __call__(
        self, description: str, function: Callable[[_A], _T], merge: Callable[[_T, _T], _T], arguments: Sequence[_A]
    ) -> _T:
        """Return the merged results.

        Args:
            description: Name of the work.
            function: Function of one argument; can be pickled.
            merge: Function that merges two results; can be pickled.
            arguments: At least one argument.
        """


def serially(
    description: str,  # noqa: ARG001 - as the protocol
    function: Callable[[_A], _T],
    merge: Callable[[_T, _T], _T],
    arguments: Sequence[_A],
) -> _T:
    """Call a function with each argument in this process, and merge the results."""
    return reduce(merge, map(function, arguments))


@dataclass(frozen=True)
class Task:
    """One file, or one share of the keys of all tables.

    Args:
        table: Name of the file's table; `None` for a share.
        name: Name of the file.
        share: Number of the share, and number of shares.
    """

    table: str | None = None
    name: str = ""
    share: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Subject:
    """A run to measure.

    Args:
        files: Tables of the run.
        arguments: Arguments of the run.
        projection: Projection of the run.
        recogniser: Recogniser of the run, or `None`.
        paired: Comparison with the published recogniser, or `None`.
        with_sample: Whether to sample rows, drawn by the run's name.
    """

    files: RunFiles
    arguments: Arguments
    projection: Projection
    recogniser: Recogniser | None = None
    paired: PairedRecognition | None = None
    with_sample: bool = True

    def measure(self, run: Reduce = serially) -> Figures:
        """Measure all files, unless `schema_checks` fail."""
        try:
            readable = all(check.passed for check in self.schema_checks())
        except (pa.ArrowException, OSError) as error:
            return _unreadable(error)
        return self._measure(run) if readable else Figures()

    def _measure(self, run: Reduce) -> Figures:
        first = self.measure_tasks([*self.tasks("inventory"), *self.tasks("quarantine"), *self.shares()], run)
        return first.merge(self.measure_tasks(self.tasks("features"), run, has_split=first.fitted > 0))

    def schema_checks(self) -> tuple[Check, ...]:
        """Return the checks of columns and types, from the footers of all files. Rows are not read if they fail."""
        return tuple(
            rules.schema_check(footer.schema for footer in self._table(name).footers.values())
            for name, rules in self.rules.items()
        )

    def tasks(self, table: str) -> list[Task]:
        """Return the tasks of a table's files."""
        return [Task(table, name) for name in self._table(table).sizes]

    def shares(self) -> list[Task]:
        """Return the tasks that compare the keys of the tables."""
        count = accounting.shares(self.files)
        return [Task(share=(share, count)) for share in range(count)]

    def measure_tasks(self, tasks: Sequence[Task], run: Reduce = serially, *, has_split: bool = False) -> Figures:
        """Measure files and shares.

        Args:
            tasks: Tasks, possibly none.
            run: Function that runs the tasks.
            has_split: Whether the inventory has a split to fit on. Otherwise the projection was fitted on all images.
        """
        if not tasks:
            return Figures()
        sent = replace(self, files=RunFiles(self.files.layout, self.files.filesystem))  # without the footers read
        return run("validate", _Measure(sent, has_split), Figures.merge, tasks)

    @cached_property
    def rules(self) -> dict[str, TableRules]:
        """Rules of the tables by name."""
        features, components = self.projection.components.shape
        rules = value_rules(self.files.bucket, features=features, components=components)
        columns = {
            "features": schemas.features_columns(include_pixels=self.arguments.include_pixels),
            "quarantine": schemas.QUARANTINE,
            "inventory": schemas.INVENTORY,
        }
        return {name: TableRules(name, columns[name], {} if name == "inventory" else rules) for name in columns}

    def count(self, table: str, batch: pa.RecordBatch, *, has_split: bool) -> Figures:
        """Return the figures of rows of a table."""
        tables = {table: self.rules[table].count(batch)}
        if table == "inventory":
            return Figures(tables=tables, fitted=pc.sum(pc.equal(batch["split"], FITTED_SPLIT)).as_py() or 0)
        if table == "quarantine":
            return Figures(tables=tables)
        images = Counter(zip(batch["split"].to_pylist(), batch["category"].to_pylist(), strict=True))
        complete = self._complete(batch)
        labelled = _labelled(complete)
        trained = labelled.filter(_is_fitted(labelled, has_split=has_split))
        fitted = _is_fitted(complete, has_split=has_split).to_numpy(zero_copy_only=False)
        return Figures(
            tables=tables,
            images=images,
            vectors=VectorStatistics.of(complete, self.projection, fitted),
            means=_means(trained),
            answers=recognise(self.applied, labelled) if self.applied else {},
            paired=self.paired.count(batch) if self.paired else PairedCounts(),
            sample=self._sample(complete) if self.with_sample else None,
        )

    @property
    def applied(self) -> Recogniser | None:
        """The recogniser, if it takes the run's components."""
        return self.recogniser if self.recogniser and self.recogniser.k == self.projection.k else None

    def _complete(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows whose vectors have the lengths of the projection."""
        d, k = self.projection.components.shape
        features, pca = pc.list_value_length(batch["features"]), pc.list_value_length(batch["pca"])
        return _filter(batch, pc.and_(pc.equal(features, d), pc.equal(pca, k)))

    def _sample(self, rows: pa.RecordBatch) -> pa.Table | None:
        if not rows.num_rows:
            return None
        columns = pa.Table.from_batches([rows.select(["path", "features", "pca"])])
        seed = crc32(self.arguments.run.encode())
        return merge_samples(columns.append_column("draw", pa.array(draw(rows["path"], seed))))

    def _table(self, name: str) -> Table:
        table: Table = getattr(self.files, name)
        return table


@dataclass(frozen=True)
class _Measure:
    """Measures one task.

    Args:
        subject: The run.
        has_split: Whether the inventory has a split to fit on.
    """

    subject: Subject
    has_split: bool

    def __call__(self, task: Task) -> Figures:
        """Return the figures of a task. Files that cannot be read are part of the figures."""
        try:
            return self._measure(task)
        except (pa.ArrowException, OSError) as error:
            return _unreadable(error)

    def _measure(self, task: Task) -> Figures:
        files = RunFiles(self.subject.files.layout, self.subject.files.filesystem)  # a task lists the files it needs
        if task.table is None:
            return Figures(errors=accounting.count_errors(files, *task.share))
        batches = getattr(files, task.table).batches(names=[task.name])
        counted = (self.subject.count(task.table, batch, has_split=self.has_split) for batch in batches)
        figures = reduce(Figures.merge, counted, Figures())
        if task.table != "features":
            return figures
        return figures.merge(Figures(files={task.name: figures.digest}))


def _unreadable(error: Exception) -> Figures:
    return Figures(unreadable=(str(error),))


def _is_fitted(rows: pa.RecordBatch, *, has_split: bool) -> pa.BooleanArray:
    if not has_split:
        return pa.array(np.ones(rows.num_rows, bool))
    return pc.fill_null(pc.equal(rows["split"], FITTED_SPLIT), fill_value=False)


def _labelled(complete: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with category and finite components. The others fail other checks."""
    finite = np.isfinite(as_matrix(complete["pca"])).all(axis=1) if complete.num_rows else np.empty(0, bool)
    return _filter(complete, pc.and_(pc.is_valid(complete["category"]), pa.array(finite, pa.bool_())))


def _means(trained: pa.RecordBatch) -> CategoryMeans:
    if not trained.num_rows:
        return CategoryMeans()
    return CategoryMeans.of(as_matrix(trained["pca"]), np.array(trained["category"].to_pylist(), np.str_))


def _filter(rows: pa.RecordBatch, mask: pa.BooleanArray) -> pa.RecordBatch:
    """Return the rows of a mask, without a copy if it has all of them."""
    return rows if mask.true_count == rows.num_rows else rows.filter(mask)
