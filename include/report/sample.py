"""Count and sample the rows of a run for its report.

`features/` is read twice: to count, and to sample. The sample is bounded. It contains all rows of a run with up to
about 100,000 Training and 25,000 Test images. Needs pyarrow and NumPy only, because it also runs on clusters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from fruits_features.contract.image_keys import TEST_SPLIT
from include.draws import draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from include.run_files import RunFiles, Table

MAX_ROWS = {TEST_SPLIT: 25_000}
MAX_OTHER_ROWS = 100_000
"""Largest number of rows per split. The time to compare all Test with all Training images grows with the product."""
MAX_BYTES = 200 * 2**20
"""Largest size of the sampled components in bytes. It limits the rows of runs with more than about 400 components."""
MIN_CATEGORY_ROWS = 10
"""Smallest number of rows per split and category, if there are that many."""
REJECTED_SAMPLES = 12
"""Largest number of samples per reason of the quarantine."""

Labels = tuple[str | None, str]
"""Split and category."""


class Rejected(NamedTuple):
    """A sampled object of the quarantine; `draw` is from 0 to 1."""

    draw: float
    path: str
    size: int
    detail: str


@dataclass(frozen=True)
class ReasonCounts:
    """Objects in quarantine for one reason.

    Args:
        images: Number of objects.
        size_bytes: Their total size in bytes.
        samples: Those with the smallest draws.
    """

    images: int = 0
    size_bytes: int = 0
    samples: tuple[Rejected, ...] = ()

    def merge(self, other: ReasonCounts) -> ReasonCounts:
        """Return the counts of both."""
        samples = tuple(sorted({*self.samples, *other.samples})[:REJECTED_SAMPLES])
        return ReasonCounts(self.images + other.images, self.size_bytes + other.size_bytes, samples)


@dataclass(frozen=True)
class Totals:
    """Counts of files.

    Args:
        images: Number of rows of `features/` by split and category.
        reasons: Objects in quarantine by reason.
    """

    images: Counter[Labels] = field(default_factory=Counter)
    reasons: Mapping[str, ReasonCounts] = field(default_factory=dict)

    @classmethod
    def of_features(cls, table: Table, name: str) -> Totals:
        """Count the rows of a file of `features/`."""
        images: Counter[Labels] = Counter()
        for batch in table.batches(["split", "category"], [name]):
            images.update(zip(batch["split"].to_pylist(), batch["category"].to_pylist(), strict=True))
        return cls(images)

    @classmethod
    def of_quarantine(cls, table: Table, name: str) -> Totals:
        """Count and sample the rows of a file of `quarantine/`."""
        reasons: dict[str, ReasonCounts] = {}
        for batch in table.batches(["path", "size", "reason", "detail"], [name]):
            rows = zip(batch["reason"].to_pylist(), draw(batch["path"]).tolist(), *_values(batch), strict=True)
            for reason, *rejected in rows:
                one = Rejected(*rejected)
                reasons[reason] = reasons.get(reason, ReasonCounts()).merge(ReasonCounts(1, one.size, (one,)))
        return cls(reasons=reasons)

    def merge(self, other: Totals) -> Totals:
        """Return the counts of both."""
        names = {*self.reasons, *other.reasons}
        empty = ReasonCounts()
        reasons = {name: self.reasons.get(name, empty).merge(other.reasons.get(name, empty)) for name in names}
        return Totals(self.images + other.images, reasons)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {
            "images": [[*labels, images] for labels, images in self.images.items()],
            "reasons": {
                name: [counts.images, counts.size_bytes, counts.samples] for name, counts in self.reasons.items()
            },
        }

    @classmethod
    def of_dict(cls, document: Mapping[str, Any]) -> Totals:
        """Return the counts from the result of `as_dict`."""
        reasons = {
            name: ReasonCounts(images, size, tuple(Rejected(*rejected) for rejected in samples))
            for name, (images, size, samples) in document["reasons"].items()
        }
        return cls(Counter({(split, category): images for split, category, images in document["images"]}), reasons)


def count(files: RunFiles) -> Totals:
    """Count the rows of a run."""
    features = (Totals.of_features(files.features, name) for name in files.features.sizes)
    quarantine = (Totals.of_quarantine(files.quarantine, name) for name in files.quarantine.sizes)
    return reduce(Totals.merge, (*features, *quarantine), Totals())


def shares(images: Mapping[Labels, int], k: int) -> dict[Labels, float]:
    """Return the share of the rows to sample by split and category.

    Args:
        images: Number of rows by split and category.
        k: Number of components.
    """
    of_split: Counter[str | None] = Counter()
    for (split, _), number in images.items():
        of_split[split] += number
    in_memory = MAX_BYTES / (4 * k * max(1, sum(images.values())))
    return {
        (split, category): min(
            1.0,
            max(
                min(MAX_ROWS.get(split or "", MAX_OTHER_ROWS) / of_split[split], in_memory),
                MIN_CATEGORY_ROWS / number,
            ),
        )
        for (split, category), number in images.items()
    }


def sampled(table: Table, shares: Mapping[Labels, float], names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the sampled rows: `path`, `split`, `category`, `pca` and `draw`.

    Sampling a sample again keeps all of its rows.

    Args:
        table: Rows of `features/`, or a sample of them.
        shares: Result of `shares`.
        names: Names of the files to read; all by default.
    """
    for batch in table.batches(["path", "split", "category", "pca"], names):
        labels = zip(batch["split"].to_pylist(), batch["category"].to_pylist(), strict=True)
        draws = draw(batch["path"])
        kept = [one <= shares.get(label, 0.0) for one, label in zip(draws.tolist(), labels, strict=True)]
        yield batch.append_column("draw", pa.array(draws)).filter(pa.array(kept, pa.bool_()))


def _values(batch: pa.RecordBatch) -> Iterator[list[Any]]:
    return (batch[name].to_pylist() for name in ("path", "size", "detail"))
