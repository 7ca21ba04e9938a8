"""What differs from the run that was published before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CATEGORIES = 12


@dataclass(frozen=True)
class Previous:
    """The published run so far.

    Args:
        document: its `run.json`.
        figures: its `figures.json`; `None` when it has none.
    """

    document: Mapping[str, Any]
    figures: Mapping[str, Any] | None = None


def compare(figures: Mapping[str, Any], previous: Previous) -> dict[str, Any]:
    """Put this run's figures beside the previous one's.

    Args:
        figures: of this run, as `figures.json` has them.
        previous: the other one.
    """
    now, before = _of_figures(figures), {**_of_document(previous.document), **_of_figures(previous.figures or {})}
    counts = {one["category"]: one["images"] for one in figures["categories"]}
    old = previous.document.get("categories", {})
    changed = [
        {"category": name, "before": old.get(name, 0), "now": counts.get(name, 0)}
        for name in sorted({*counts, *old})
        if old.get(name, 0) != counts.get(name, 0)
    ]
    changed.sort(key=lambda one: -abs(one["now"] - one["before"]))
    return {
        "run": previous.document.get("run"),
        "figures": [{"figure": name, "before": before.get(name), "now": value} for name, value in now.items()],
        "categories_changed": len(changed),
        "categories": changed[:MOST_CATEGORIES],
    }


def _of_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what is compared from a `figures.json`."""
    if not figures:
        return {}
    return {
        **figures["counts"],
        "categories": len(figures["categories"]),
        "components": figures["variance"]["components"],
        "explained": figures["variance"]["explained"],
        "accuracy": (figures["recognition"] or {}).get("accuracy"),
        "seconds": figures["tasks"]["seconds"],
        "dollars": figures["tasks"]["dollars"],
    }


def _of_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the same from a `run.json`, which does not tell all of it."""
    projection = document.get("projection", {})
    return {
        **document.get("counts", {}),
        "categories": len(document.get("categories", {})),
        "components": projection.get("components"),
        "explained": projection.get("explained_variance"),
    }
