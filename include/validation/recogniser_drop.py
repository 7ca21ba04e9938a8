"""Compare the accuracy of a run's recogniser with that of the published run.

Both recognisers are applied to the run's Test images where possible, which needs features of the same families and
model. Then Test images that were added or removed are not a drop, and smaller drops stand out from chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fruits_features.contract.image_keys import TEST_SPLIT
from fruits_features.io.vectors import as_matrix
from fruits_features.recogniser.guesses import guess
from include import intervals
from include.validation.checks import Check, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fruits_features.projection import Projection
    from fruits_features.recogniser.model import Recogniser
    from include.intervals import Interval

CHECK_NAME = "recogniser: accuracy against the published run"
MIN_DROP = 0.01
"""Smallest difference of accuracies that counts as a drop, if chance does not explain it."""

PAIRED = "the same Test images"
UNPAIRED = "each run's Test images"
CROSS_VALIDATED = "cross-validation on each run's Training images"


@dataclass(frozen=True)
class EvaluatedRecogniser:
    """A recogniser and what it recognised.

    Args:
        recogniser: The recogniser; `None` if the run has none, or this version cannot read it.
        test: Number of recognised Test images and of all Test images; `None` without Test images.
    """

    recogniser: Recogniser | None
    test: tuple[int, int] | None = None

    @classmethod
    def of(cls, recogniser: Recogniser | None, figures: Mapping[str, Any]) -> Self:
        """Return the recogniser with its figures in a validation's result or in `run.json`, empty if there are none."""
        test = figures.get("splits", {}).get(TEST_SPLIT)
        return cls(recogniser, (test["right"], test["images"]) if test else None)

    @property
    def cross_validated(self) -> tuple[float, int] | None:
        """Number of recognised images and of all images of the cross-validation; `None` without one."""
        evaluation = self.recogniser and self.recogniser.evaluation
        return (evaluation.accuracy * evaluation.images, evaluation.images) if evaluation else None


NO_RECOGNISER = EvaluatedRecogniser(None)
"""A run without a recogniser."""


@dataclass(frozen=True)
class Change:
    """Difference of two accuracies.

    Args:
        basis: Images that were recognised: `PAIRED`, `UNPAIRED` or `CROSS_VALIDATED`.
        images: Number of images of the run.
        before: Accuracy of the published recogniser, from 0 to 1.
        now: Accuracy of the run's recogniser, from 0 to 1.
        interval: Confidence interval (95 %) of the difference.
    """

    basis: str
    images: int
    before: float
    now: float
    interval: Interval

    @classmethod
    def of(cls, basis: str, before: tuple[float, int] | None, now: tuple[float, int] | None) -> Change | None:
        """Return the change between two samples, each given as hits and trials; `None` if one is missing."""
        if not before or not now:
            return None
        return cls(basis, now[1], before[0] / before[1], now[0] / now[1], intervals.difference(before, now))

    @property
    def difference(self) -> float:
        """Difference of the accuracies, negative for a drop."""
        return round(self.now - self.before, 6)

    @property
    def is_drop(self) -> bool:
        """Whether the accuracy dropped by at least `MIN_DROP`, and chance does not explain it."""
        return self.difference <= -MIN_DROP and self.interval.high < 0

    def figures(self) -> dict[str, Any]:
        """Return plain types, for `run.json` and the report."""
        low, high = (round(limit, 6) for limit in self.interval)
        accuracies = {"before": round(self.before, 6), "now": round(self.now, 6), "difference": self.difference}
        return {
            "basis": self.basis,
            "images": self.images,
            **accuracies,
            "low": low,
            "high": high,
            "is_drop": self.is_drop,
        }


@dataclass(frozen=True)
class PairedCounts:
    """Test images that two recognisers were applied to.

    Args:
        images: Number of images.
        recognised: Number of those that the run's recogniser recognised.
        lost: Number of those that only the published one recognised.
        gained: Number of those that only the run's recognised.
    """

    images: int = 0
    recognised: int = 0
    lost: int = 0
    gained: int = 0

    def merge(self, other: PairedCounts) -> PairedCounts:
        """Return the counts of both."""
        return PairedCounts(
            self.images + other.images,
            self.recognised + other.recognised,
            self.lost + other.lost,
            self.gained + other.gained,
        )

    @property
    def change(self) -> Change | None:
        """Difference of the accuracies; `None` without images."""
        if not self.images:
            return None
        before = (self.recognised + self.lost - self.gained) / self.images
        interval = intervals.paired_difference(self.lost, self.gained, self.images)
        return Change(PAIRED, self.images, before, self.recognised / self.images, interval)


@dataclass(frozen=True)
class PairedRecognition:
    """Recognises Test images of a run by the run's and by the published recogniser.

    The published recogniser cannot recognise images of new categories. They are not compared, so that they hide no
    drop.

    Args:
        now: Recogniser of the run.
        before: Published recogniser.
        projection: Projection that computes the components for `before`; `None` if those of the run are the same.
    """

    now: Recogniser
    before: Recogniser
    projection: Projection | None

    @classmethod
    def of(
        cls, run: Recogniser | None, projection: Projection, published: Recogniser | None, old: Projection | None
    ) -> Self | None:
        """Return the comparison, or `None` if the published recogniser cannot be applied to the run's features.

        Args:
            run: Recogniser of the run.
            projection: Projection of the run.
            published: Recogniser of the published run.
            old: Projection of the published run.
        """
        if run is None or published is None:
            return None
        if published.projection == projection.version:
            return cls(run, published, None) if published.k == projection.k else None
        if old is None or (old.version, old.k) != (published.projection, published.k):
            return None
        return cls(run, published, old) if _features(old) == _features(projection) else None

    def count(self, rows: pa.RecordBatch) -> PairedCounts:
        """Recognise the Test images among rows. Rows with incomplete vectors are left out.

        Args:
            rows: Columns `split`, `category`, `features` and `pca`.
        """
        known = pc.is_in(rows["category"], pa.array(self.before.categories))
        kept = [pc.equal(rows["split"], TEST_SPLIT), known, pc.equal(pc.list_value_length(rows["pca"]), self.now.k)]
        if self.projection:
            kept.append(pc.equal(pc.list_value_length(rows["features"]), len(self.projection.mean)))
        rows = rows.filter(reduce(pc.and_, kept))
        if not rows.num_rows:
            return PairedCounts()
        components = as_matrix(rows["pca"])
        published = self.projection.project(as_matrix(rows["features"])) if self.projection else components
        labels = np.array(rows["category"].to_pylist(), np.str_)
        now, before = is_recognised(self.now, components, labels), is_recognised(self.before, published, labels)
        return PairedCounts(rows.num_rows, int(now.sum()), int((before & ~now).sum()), int((now & ~before).sum()))


def _features(projection: Projection) -> tuple[tuple[str, ...], str | None]:
    """Return the families of a projection's features, and the SHA-256 of the model if there is one."""
    return tuple(projection.families), projection.model.sha256 if projection.model else None


def is_recognised(recogniser: Recogniser, components: NDArray[Any], categories: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return whether the most probable category of each image is its category.

    Args:
        recogniser: The recogniser.
        components: Components of n images, n x k.
        categories: Their n categories.
    """
    return np.asarray(np.array(recogniser.categories)[guess(recogniser, components).category] == categories)


def find_change(
    run: EvaluatedRecogniser, published: EvaluatedRecogniser | None, paired: PairedCounts | None
) -> Change | None:
    """Return the change of accuracy by the most exact comparison, or `None` if nothing can be compared.

    Args:
        run: Recogniser of the run.
        published: Recogniser of the published run; `None` if no run is published.
        paired: Test images that both recognised; `None` if the published recogniser cannot be applied to them.
    """
    if published is None:
        return None
    return (
        (paired and paired.change)
        or Change.of(UNPAIRED, published.test, run.test)
        or Change.of(CROSS_VALIDATED, published.cross_validated, run.cross_validated)
    )


def check(
    run: EvaluatedRecogniser, published: EvaluatedRecogniser | None, change: Change | None, severity: Severity
) -> Check:
    """Return the check of the drop.

    Args:
        run: Recogniser of the run.
        published: Recogniser of the published run; `None` if no run is published.
        change: Result of `find_change`.
        severity: Severity of a drop.
    """
    if published is None:
        return Check.not_checked(CHECK_NAME, "no run is published")
    if published.recogniser is None:
        return Check.not_checked(CHECK_NAME, "the published run has no recogniser that this version can read")
    if run.recogniser is None:
        wanted = "a recogniser, as in the published run"
        return Check(CHECK_NAME, passed=False, saw="no recogniser", wanted=wanted, severity=severity)
    if change is None:
        return Check.not_checked(CHECK_NAME, "the runs have neither Test images nor a cross-validation in common")
    low, high = change.interval
    saw = (
        f"{change.now:.4f} after {change.before:.4f}: {change.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
        f" ({change.images} images, {change.basis})"
    )
    wanted = f"no drop of {MIN_DROP:g} or more that chance does not explain"
    return Check(CHECK_NAME, not change.is_drop, saw, wanted, severity)
