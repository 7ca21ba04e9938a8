"""The audit between writing and publishing: is what was written what was asked for?

Reads the run's Parquet from S3, not what the job said of it. Every check has a name, what it saw and what it wanted.
Deciding what a failed check means is left to the caller.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

from fruits_features import schemas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyarrow.fs import FileSystem

    from fruits_features.layout import RunLayout
    from fruits_features.projection import Projection


@dataclass(frozen=True)
class Check:
    """One question asked of a run, and its answer."""

    name: str
    passed: bool
    saw: str
    wanted: str

    def __str__(self) -> str:
        """The check as one clause of a sentence."""
        return f"{self.name}: saw {self.saw}, wanted {self.wanted}"


@dataclass(frozen=True)
class Report:
    """Everything a validation found."""

    counts: Mapping[str, int] = field(default_factory=dict)
    projection: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    def failure(self) -> str:
        """The failed checks with their figures, as one sentence."""
        return f"{len(self.failed)} of {len(self.checks)} checks failed: " + "; ".join(map(str, self.failed)) + "."

    def table(self) -> str:
        """All checks, one a line."""
        return "\n".join(f"{'passed' if check.passed else 'FAILED'}  {check}" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for an XCom and for `run.json`."""
        return {
            "counts": dict(self.counts),
            "projection": dict(self.projection),
            "checks": [asdict(check) for check in self.checks],
        }


@dataclass(frozen=True)
class RunFiles:
    """A run's results, opened lazily.

    Args:
        layout: where they lie.
        filesystem: the bucket's.
        include_pixels: whether the run was asked for the column `image`.
    """

    layout: RunLayout
    filesystem: FileSystem
    include_pixels: bool = False

    def scan(self, folder: str) -> pl.LazyFrame:
        """A folder of Parquet files as one lazy frame; what begins with "_" or "." is no data (Spark's convention)."""
        dataset = ds.dataset(folder.removeprefix("s3://"), filesystem=self.filesystem, format="parquet")
        return pl.scan_pyarrow_dataset(dataset)

    @cached_property
    def inventory(self) -> pl.LazyFrame:
        """What the run had to account for, with each object's `path`."""
        bucket = self.layout.prefix.removeprefix("s3://").partition("/")[0]
        return self.scan(self.layout.inventory).with_columns(path=pl.lit(f"s3://{bucket}/") + pl.col("key"))

    @cached_property
    def features(self) -> pl.LazyFrame:
        """One row for each image that was described."""
        return self.scan(self.layout.features)

    @cached_property
    def quarantine(self) -> pl.LazyFrame:
        """One row for each object that was not."""
        return self.scan(self.layout.quarantine)


def validate(files: RunFiles, projection: Projection) -> Report:
    """Ask every question of a run.

    A file that cannot be read is itself a failed check, named `readable`; then no other can be asked.

    Args:
        files: the run's tables.
        projection: the run's projection.
    """
    try:
        counts = _counts(files)
        checks = (
            Check("readable", passed=True, saw="every file", wanted="every file"),
            *_accounting(files, counts),
            *_contract(files),
            *_vectors(files, projection),
            *_projection(projection),
        )
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        message = " ".join(str(error).split())
        return Report(
            checks=(Check("readable", passed=False, saw=message, wanted="Parquet files with the run's columns"),)
        )
    ratios = projection.explained_variance
    figures = {"components": len(ratios), "explained_variance": round(float(ratios.sum()), 6)}
    return Report(counts=counts, projection=figures, checks=checks)


def _counts(files: RunFiles) -> dict[str, int]:
    rows = pl.collect_all([frame.select(pl.len()) for frame in (files.inventory, files.features, files.quarantine)])
    return dict(zip(("inventory", "features", "quarantine"), (frame.item() for frame in rows), strict=True))


def _accounting(files: RunFiles, counts: Mapping[str, int]) -> Iterator[Check]:
    """Is every inventoried object in exactly one place, and nothing else?"""
    total = counts["features"] + counts["quarantine"]
    yield _equal("features + quarantine = inventory", total, counts["inventory"])
    paths = pl.concat([files.features.select("path"), files.quarantine.select("path")])
    yield _equal("paths that appear twice", _rows(paths.group_by("path").len().filter(pl.col("len") > 1)), 0)
    inventory = files.inventory.select("path")
    yield _equal("inventoried paths that are missing", _rows(inventory.join(paths, on="path", how="anti")), 0)
    yield _equal("paths that were not inventoried", _rows(paths.join(inventory, on="path", how="anti")), 0)


def _contract(files: RunFiles) -> Iterator[Check]:
    """Do the columns, their types and their nulls keep the contract of `fruits_features.schemas`?"""
    tables = (
        ("features", files.features, schemas.features_columns(include_pixels=files.include_pixels)),
        ("quarantine", files.quarantine, schemas.QUARANTINE),
    )
    for name, frame, columns in tables:
        wanted = pl.from_arrow(schemas.arrow_schema(columns).empty_table()).schema  # type: ignore[union-attr]
        yield _equal(f"columns of {name}", _schema(frame.collect_schema()), _schema(wanted))
        required = [column.name for column in columns if not column.nullable]
        nulls = frame.select(pl.sum_horizontal(pl.col(required).is_null().sum())).collect().item()
        yield _equal(f"nulls in required columns of {name}", nulls, 0)


def _vectors(files: RunFiles, projection: Projection) -> Iterator[Check]:
    """Are the vectors as long as the projection says, and finite?"""
    lengths = {"features": projection.components.shape[0], "pca": projection.components.shape[1]}
    for column, length in lengths.items():
        vector = pl.col(column)
        figures = files.features.select(
            odd=(vector.list.len() != length).sum(),
            infinite=(~vector.list.eval(pl.element().is_finite()).list.all()).sum(),
        ).collect(engine="streaming")
        yield _equal(f"rows whose {column} has not {length} values", figures["odd"].item(), 0)
        yield _equal(f"rows whose {column} holds a value that is not finite", figures["infinite"].item(), 0)


def _projection(projection: Projection) -> Iterator[Check]:
    """Does every component explain something, and none more than the one before?"""
    ratios = projection.explained_variance
    rises = int((ratios[1:] > ratios[:-1]).sum())
    yield _equal("components that explain more than the one before", rises, 0)
    total = float(ratios.sum())
    within = bool((ratios >= 0).all()) and 0 < total <= 1 + 1e-6
    yield Check(
        "explained variance", within, f"{total:.4f} in {len(ratios)} components", "shares that add up to at most 1"
    )


def _rows(frame: pl.LazyFrame) -> int:
    count: int = frame.select(pl.len()).collect(engine="streaming").item()
    return count


def _schema(schema: pl.Schema) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in schema.items())


def _equal(name: str, saw: object, wanted: object) -> Check:
    return Check(name, saw == wanted, str(saw), str(wanted))
