"""The report of a run: one HTML page that needs no network, and its figures as JSON.

Reads the run's Parquet as it was validated, a batch at a time; docs/guides/report.md tells what the page shows and what it
costs. Storing it, and showing it in Airflow's UI, is left to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from include.report import categories, comparison, components, nearest, page, pictures, plane, quarantine, rows
from include.report.about import About
from include.report.comparison import Previous
from include.report.pictures import Fetch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fruits_features.projection import Projection
    from include.run_files import RunFiles

__all__ = ["About", "Fetch", "Inputs", "Previous", "Report", "build"]

FORMAT = 1
"""Version of `figures.json`; grows when a reader of today could not read tomorrow's."""


@dataclass(frozen=True)
class Inputs:
    """What a report is made from.

    Args:
        run: its name.
        files: its tables.
        projection: its projection.
        validation: what its validation found, as `Report.as_dict` of `include.validation.audit` gives it.
        fetch: gets objects of the bucket, for pictures.
        seconds: how long each task took, in the order of the tasks.
        dollars: what each task cost, where that is known.
        expected_dollars: what all of them were expected to cost.
        previous: the run that was published before; `None` for none.
        about: what the run was; `None` where that is not known.
    """

    run: str
    files: RunFiles
    projection: Projection
    validation: Mapping[str, Any]
    fetch: Fetch
    seconds: Mapping[str, float] = field(default_factory=dict)
    dollars: Mapping[str, float] = field(default_factory=dict)
    expected_dollars: float | None = None
    previous: Previous | None = None
    about: About | None = None


@dataclass(frozen=True)
class Report:
    """A run's report.

    Args:
        figures: everything that the page tells, in plain types.
        html: the page, UTF-8.
    """

    figures: dict[str, Any]
    html: bytes


def build(inputs: Inputs) -> Report:
    """Make the report of a run."""
    figures = _figures(inputs)
    shown = pictures.load(_paths(figures), inputs.files.bucket, inputs.fetch)
    return Report(figures, page.render(figures, shown).encode())


def _figures(inputs: Inputs) -> dict[str, Any]:
    counts = rows.count(inputs.files)
    kept = rows.Rows.read(inputs.files, counts, inputs.projection.k)
    both = rows.splits(counts)
    known, asked = (kept.of(split) for split in both or (None, None))
    figures = {
        "format": FORMAT,
        "run": inputs.run,
        "uri": inputs.files.layout.prefix,
        "about": inputs.about.figures() if inputs.about else None,
        "counts": {name: getattr(inputs.files, name).rows for name in ("inventory", "features", "quarantine")},
        "categories": categories.describe(counts, kept),
        "quarantine": quarantine.by_reason(inputs.files),
        "variance": components.variance(inputs.projection),
        "components": components.seen(inputs.projection, kept),
        "plane": plane.sample(kept, counts),
        "neighbours": nearest.neighbours(asked, known),
        "recognition": nearest.recognise(asked, known, rows.by_split(counts)) if both else None,
        "tasks": _tasks(inputs),
        "checks": list(inputs.validation["checks"]),
    }
    previous = inputs.previous
    return {**figures, "comparison": comparison.compare(figures, previous) if previous else None}


def _tasks(inputs: Inputs) -> dict[str, Any]:
    """Add up time and cost; cost is `None` where nothing is known of it."""
    by_task = [
        {"task": task, "seconds": round(inputs.seconds.get(task, 0.0), 3), "dollars": inputs.dollars.get(task)}
        for task in dict.fromkeys((*inputs.seconds, *inputs.dollars))
    ]
    return {
        "seconds": round(sum(inputs.seconds.values()), 3) if inputs.seconds else None,
        "dollars": round(sum(inputs.dollars.values()), 6) if inputs.dollars else None,
        "expected_dollars": inputs.expected_dollars,
        "by_task": by_task,
    }


def _paths(figures: dict[str, Any]) -> Iterator[str]:
    """List the images that the page shows."""
    yield from (one["typical"] for one in figures["categories"][: page.MOST_CATEGORY_PICTURES])
    drawable = (one for one in figures["quarantine"] if one["reason"] in quarantine.DRAWABLE)
    yield from (one["path"] for reason in drawable for one in reason["samples"] if one["size"] <= pictures.MOST_BYTES)
    yield from (
        one["path"] for component in figures["components"] for one in component["lowest"] + component["highest"]
    )
    for query in figures["neighbours"]:
        yield from (one["path"] for one in [query, *query["nearest"]])
    for pair in (figures["recognition"] or {}).get("confusions", ()):
        yield from (pair["path"], pair["nearest"])
