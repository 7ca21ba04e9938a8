"""Build the report of a run: one HTML page that needs no network, and its figures as JSON.

The validated Parquet of the run is read in batches. docs/guides/report.md describes the page. The caller stores it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fruits_features.contract.arguments import DEFAULT_MAX_IMAGE_PIXELS
from include.report import rows, sample
from include.report.page import pictures
from include.report.page.pictures import Fetch
from include.report.page.render import MAX_CATEGORY_PICTURES, render
from include.report.sections import categories, comparison, components, nearest, plane, quarantine, recognition
from include.report.sections.about import About
from include.report.sections.comparison import Previous
from include.run_files import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fruits_features.projection import Projection
    from fruits_features.recogniser.model import Recogniser
    from include.report.sample import Totals
    from include.run_files import RunFiles

__all__ = ["About", "Fetch", "Inputs", "Previous", "Report", "build"]

FORMAT = 1
"""Version of `figures.json`. A change that existing readers cannot read increases it."""


@dataclass(frozen=True)
class Inputs:
    """Input of a report.

    Args:
        run: Name of the run.
        files: Tables of the run.
        projection: Projection of the run.
        validation: Result of the validation, from `include.validation.audit.ValidationReport.as_dict`.
        fetch: Function that fetches objects of the bucket, for pictures.
        seconds: Duration of each task, in the order of the tasks.
        dollars: Cost of each task whose cost is known.
        expected_dollars: Expected total cost.
        charged: Whether AWS charges this cost.
        previous: Run that was published before, or `None`.
        about: Origin of the run, or `None` if it is unknown.
        max_image_pixels: Largest image in pixels. Pictures of larger ones are omitted.
        recogniser: Recogniser of the run, or `None` if it has none.
        no_recogniser: Reason why it has none, one sentence.
        totals: Counts of the run if a cluster has counted and sampled its rows. `None`: the files are read here.
    """

    run: str
    files: RunFiles
    projection: Projection
    validation: Mapping[str, Any]
    fetch: Fetch
    seconds: Mapping[str, float] = field(default_factory=dict)
    dollars: Mapping[str, float] = field(default_factory=dict)
    expected_dollars: float | None = None
    charged: bool = True
    previous: Previous | None = None
    about: About | None = None
    max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS
    recogniser: Recogniser | None = None
    no_recogniser: str = "The application wrote none."
    totals: Totals | None = None


@dataclass(frozen=True)
class Report:
    """Report of a run.

    Args:
        figures: All figures of the page, in plain types.
        html: The page, encoded in UTF-8.
    """

    figures: dict[str, Any]
    html: bytes


def build(inputs: Inputs) -> Report:
    """Build the report of a run."""
    figures = _figures(inputs)
    shown = pictures.load(_paths(figures), inputs.files.bucket, inputs.fetch, inputs.max_image_pixels)
    return Report(figures, render(figures, shown).encode())


def _figures(inputs: Inputs) -> dict[str, Any]:
    totals = inputs.totals or sample.count(inputs.files)
    table = (
        Table(inputs.files.layout.report_sample, inputs.files.filesystem) if inputs.totals else inputs.files.features
    )
    counts = rows.counts(totals.images)
    shown = rows.Rows.read(table, totals.images, inputs.projection.k)
    both = rows.splits(counts)
    known, queries = (shown.of(split) for split in both or (None, None))
    figures = {
        "format": FORMAT,
        "run": inputs.run,
        "uri": inputs.files.layout.prefix,
        "about": inputs.about.figures() if inputs.about else None,
        "counts": {name: getattr(inputs.files, name).rows for name in ("inventory", "features", "quarantine")},
        "categories": categories.summarise(counts, shown),
        "quarantine": quarantine.by_reason(totals.reasons),
        "variance": components.variance(inputs.projection),
        "components": components.summarise(inputs.projection, shown),
        "plane": plane.sample(shown, counts),
        "neighbours": nearest.neighbours(queries, known),
        "recogniser": _recogniser(inputs, shown),
        "no_recogniser": None if inputs.recogniser else inputs.no_recogniser,
        "recognition": nearest.recognise(queries, known, rows.by_split(counts)) if both else None,
        "tasks": _tasks(inputs),
        "checks": list(inputs.validation["checks"]),
    }
    previous = inputs.previous
    return {**figures, "comparison": comparison.compare(figures, previous) if previous else None}


def _recogniser(inputs: Inputs, shown: rows.Rows) -> dict[str, Any] | None:
    if not inputs.recogniser:
        return None
    return recognition.summarise(inputs.recogniser, shown, inputs.validation["recogniser"])


def _tasks(inputs: Inputs) -> dict[str, Any]:
    """Return time and cost by task and in total. Unknown costs are `None`."""
    by_task = [
        {"task": task, "seconds": round(inputs.seconds.get(task, 0.0), 3), "dollars": inputs.dollars.get(task)}
        for task in dict.fromkeys((*inputs.seconds, *inputs.dollars))
    ]
    return {
        "seconds": round(sum(inputs.seconds.values()), 3) if inputs.seconds else None,
        "dollars": round(sum(inputs.dollars.values()), 6) if inputs.dollars else None,
        "expected_dollars": inputs.expected_dollars,
        "charged": inputs.charged,
        "by_task": by_task,
    }


def _paths(figures: dict[str, Any]) -> Iterator[str]:
    """Yield the paths of the images that the page shows."""
    yield from (category["typical"] for category in figures["categories"][:MAX_CATEGORY_PICTURES])
    drawable = (reason for reason in figures["quarantine"] if reason["reason"] in quarantine.DRAWABLE)
    yield from (
        entry["path"] for reason in drawable for entry in reason["samples"] if entry["size"] <= pictures.MAX_BYTES
    )
    yield from (
        image["path"] for component in figures["components"] for image in component["lowest"] + component["highest"]
    )
    for query in figures["neighbours"]:
        yield from (image["path"] for image in [query, *query["nearest"]])
    for pair in (figures["recogniser"] or figures["recognition"] or {}).get("confusions", ()):
        yield from (path for path in (pair["path"], pair["nearest"]) if path)
