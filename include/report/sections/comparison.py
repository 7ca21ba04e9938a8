"""Compare a run with the run that was published before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fruits_features.contract.image_keys import TEST_SPLIT

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CATEGORIES = 12


@dataclass(frozen=True)
class Previous:
    """Run that was published before.

    Args:
        document: Its `run.json`.
        figures: Its `figures.json`, or `None`.
    """

    document: Mapping[str, Any]
    figures: Mapping[str, Any] | None = None


def compare(figures: Mapping[str, Any], previous: Previous) -> dict[str, Any]:
    """Return the figures of both runs and the categories whose number of images changed.

    Args:
        figures: Figures of this run, as in `figures.json`.
        previous: Run that was published before.
    """
    now, before = _of_figures(figures), {**_of_document(previous.document), **_of_figures(previous.figures or {})}
    counts = {category["category"]: category["images"] for category in figures["categories"]}
    old = previous.document.get("categories", {})
    changed = [
        {"category": name, "before": old.get(name, 0), "now": counts.get(name, 0)}
        for name in sorted({*counts, *old})
        if old.get(name, 0) != counts.get(name, 0)
    ]
    changed.sort(key=lambda change: -abs(change["now"] - change["before"]))
    return {
        "run": previous.document.get("run"),
        "figures": [{"figure": name, "before": before.get(name), "now": value} for name, value in now.items()],
        "categories_changed": len(changed),
        "categories": changed[:MAX_CATEGORIES],
    }


def _of_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the compared figures from a `figures.json`."""
    if not figures:
        return {}
    return {
        **figures["counts"],
        "categories": len(figures["categories"]),
        "components": figures["variance"]["components"],
        "explained": figures["variance"]["explained"],
        "recogniser": _accuracy_on_test(figures.get("recogniser") or {}),
        "accuracy": (figures["recognition"] or {}).get("accuracy"),
        "seconds": figures["tasks"]["seconds"],
        "dollars": figures["tasks"]["dollars"],
    }


def _accuracy_on_test(recogniser: Mapping[str, Any]) -> float | None:
    """Return the accuracy of a recogniser on Test, or `None` if there is none."""
    of_split = {one["split"]: one["accuracy"] for one in recogniser.get("accuracy", ())}
    return of_split.get(TEST_SPLIT)


def _of_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the compared figures from a `run.json`, which does not contain all of them."""
    projection = document.get("projection", {})
    return {
        **document.get("counts", {}),
        "categories": len(document.get("categories", {})),
        "components": projection.get("components"),
        "explained": projection.get("explained_variance"),
    }
