"""Figures of a run's files: what all checks need, without the rows.

Figures of files are added (`Figures.merge`), so that files can be read anywhere and in any order. As bytes, they are an
`.npz` archive without pickles, with its digest: nodes write them, and Airflow reads them.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fruits_features.io import sealed_npz
from fruits_features.io.sealed_npz import OTHER_CONTENT, UnreadableArchiveError
from fruits_features.pca.fit import Moments
from include.validation.feature_checks import Variance, VectorStatistics
from include.validation.recogniser_checks import CategoryMeans
from include.validation.recogniser_drop import PairedCounts
from include.validation.recognition import SplitCounts
from include.validation.table_rules import TableCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT = 1
"""Version of the archive. Any change increases it."""
SAMPLE_ROWS = 48

Labels = tuple[str | None, str | None]
"""Split and category."""


class UnreadableFiguresError(ValueError):
    """Figures are damaged, or of another version. The message is the end of a sentence."""


@dataclass(frozen=True)
class Figures:
    """Figures of some files.

    Args:
        tables: Number of rows, and of rows that break rules, by table.
        files: Digest of the counts of each file of `features/`, by name.
        unreadable: Errors of files that cannot be read.
        fitted: Number of inventoried images of the fitted split.
        errors: Number of errors between the tables by kind (`accounting.count_errors`).
        images: Number of rows of `features/` by split and category.
        vectors: Statistics of the vectors.
        means: Means of the training images.
        answers: Answers of the recogniser by split.
        paired: Answers of both recognisers to the same Test images.
        sample: Rows of `features/` with the smallest draws: `path`, `features`, `pca` and `draw`; `None` without rows.
            It is not stored.
    """

    tables: Mapping[str, TableCounts] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    fitted: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    images: Counter[Labels] = field(default_factory=Counter)
    vectors: VectorStatistics = field(default_factory=VectorStatistics)
    means: CategoryMeans = field(default_factory=CategoryMeans)
    answers: Mapping[str, SplitCounts] = field(default_factory=dict)
    paired: PairedCounts = field(default_factory=PairedCounts)
    sample: pa.Table | None = None

    def merge(self, other: Figures) -> Figures:
        """Return the figures of both. The order does not matter."""
        return Figures(
            tables=_merge_by_name(self.tables, other.tables),
            files={**self.files, **other.files},
            unreadable=self.unreadable + other.unreadable,
            fitted=self.fitted + other.fitted,
            errors=self.errors + other.errors,
            images=self.images + other.images,
            vectors=self.vectors.merge(other.vectors),
            means=self.means.merge(other.means),
            answers=_merge_by_name(self.answers, other.answers),
            paired=self.paired.merge(other.paired),
            sample=merge_samples(self.sample, other.sample),
        )

    @property
    def categories(self) -> dict[str, int]:
        """Number of rows of `features/` by category."""
        counts: Counter[str] = Counter()
        for (_, category), images in self.images.items():
            counts[str(category)] += images
        return dict(counts)

    @property
    def digest(self) -> str:
        """SHA-256 of the counts that do not depend on the machine: rows, broken rules, splits and categories."""
        images = sorted([str(split), str(category), count] for (split, category), count in self.images.items())
        tables = {name: [counts.rows, sorted(counts.violations.items())] for name, counts in self.tables.items()}
        return sha256(json.dumps([images, tables], sort_keys=True).encode()).hexdigest()

    def to_bytes(self, about: Mapping[str, Any]) -> bytes:
        """Return the figures as an archive.

        Args:
            about: What the figures were computed from, as JSON.
        """
        arrays: dict[str, NDArray[Any]] = {}
        names = sorted(self.means.counts)
        document = {
            "format": FORMAT,
            "about": about,
            "tables": {name: [counts.rows, counts.violations] for name, counts in self.tables.items()},
            "files": self.files,
            "unreadable": self.unreadable,
            "fitted": self.fitted,
            "errors": self.errors,
            "images": [[*labels, count] for labels, count in self.images.items()],
            "vectors": [self.vectors.rows, self.vectors.not_projected],
            "variance": [self.vectors.variance.count, self.vectors.variance.squares],
            "means": [[name, self.means.counts[name]] for name in names],
            "answers": {
                name: [
                    counts.categories,
                    [[*pair, count] for pair, count in counts.confusions.items()],
                    counts.bins.tolist(),
                    counts.known,
                    counts.loss,
                ]
                for name, counts in self.answers.items()
            },
            "paired": [self.paired.images, self.paired.recognised, self.paired.lost, self.paired.gained],
        }
        if moments := self.vectors.moments:
            arrays |= {"mean": moments.mean, "scatter": moments.scatter, "count": np.array(moments.count)}
            arrays |= {"sums": np.asarray(self.vectors.variance.sums)}
        if names:
            arrays |= {"means": np.stack([self.means.means[name] for name in names])}
            arrays |= {"within": np.asarray(self.means.within)}
        return sealed_npz.encode(document=np.array(json.dumps(document)), **arrays)


def from_bytes(data: bytes) -> tuple[Figures, dict[str, Any]]:
    """Read figures, and what they were computed from, from an archive.

    Raises:
        UnreadableFiguresError: The archive is damaged, or of another version.
    """
    try:
        arrays = sealed_npz.decode(data)
        document = json.loads(str(arrays["document"]))
        read = document["format"], document["about"]
        figures = _figures(document, arrays) if document["format"] == FORMAT else None
    except UnreadableArchiveError as error:
        raise UnreadableFiguresError(str(error)) from error
    except OTHER_CONTENT as error:
        raise UnreadableFiguresError(f"{type(error).__name__}: {error}") from error
    if figures is None:
        raise UnreadableFiguresError(f"its format is {read[0]}, and this version reads {FORMAT}")
    return figures, read[1]


def _figures(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Figures:
    moments = Moments(int(arrays["count"]), arrays["mean"], arrays["scatter"]) if "count" in arrays else None
    fitted, squares = document["variance"]
    rows, not_projected = document["vectors"]
    variance = Variance(fitted, arrays.get("sums", 0.0), squares)
    names = [name for name, _ in document["means"]]
    return Figures(
        tables={name: TableCounts(rows, Counter(broken)) for name, (rows, broken) in document["tables"].items()},
        files=document["files"],
        unreadable=tuple(document["unreadable"]),
        fitted=document["fitted"],
        errors=Counter(document["errors"]),
        images=Counter({(split, category): count for split, category, count in document["images"]}),
        vectors=VectorStatistics(rows, not_projected, moments, variance),
        means=CategoryMeans(
            dict(document["means"]),
            dict(zip(names, arrays["means"], strict=True)) if names else {},
            arrays.get("within", 0.0),
        ),
        answers={
            name: SplitCounts(
                categories,
                Counter({(one, other): count for one, other, count in confusions}),
                np.array(bins),
                known,
                loss,
            )
            for name, (categories, confusions, bins, known, loss) in document["answers"].items()
        },
        paired=PairedCounts(*document["paired"]),
    )


def merge_samples(*samples: pa.Table | None) -> pa.Table | None:
    """Return the `SAMPLE_ROWS` rows with the smallest draws, a random sample that is independent of their order."""
    present = [sample for sample in samples if sample is not None]
    if not present:
        return None
    rows = pa.concat_tables(present)
    return rows.take(np.argsort(rows["draw"].to_numpy(), kind="stable")[:SAMPLE_ROWS])


def _merge_by_name(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: one[name].merge(counts) if name in one else counts for name, counts in other.items()}
    return {**one, **both}
