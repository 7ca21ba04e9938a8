"""What a run is made from: its images, its application, its parameters. Equal recipes give equal results.

Pure: what differs between two runs is told here, what follows from it is the DAG's business.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fruits_features.contract.arguments import Arguments

PLACES = ("bucket", "inventory", "output", "run", "store", "published")
"""Arguments that only say where a run lies, and what is there before it. Whatever else the application is asked for
shapes what comes out."""


def run_fingerprint(
    run: Mapping[str, Any], *, arguments: Arguments, artifacts: Mapping[str, str], model: str | None
) -> dict[str, Any]:
    """Tell what a run is made from: a value by name, as JSON has them.

    Args:
        run: the run as `take_inventory` fixed it.
        arguments: what the application is asked to do.
        artifacts: URIs of what the cluster runs, named by their content's hash.
        model: tells one content of the model from another; `None` without a model.
    """
    recipe = {
        "images": run["digest"],
        "image_prefix": run["prefix"],
        "model": model,
        **{role: uri.rpartition("/")[2] for role, uri in artifacts.items()},
        **{f"parameter {name}": value for name, value in asdict(arguments).items() if name not in PLACES},
    }
    known: dict[str, Any] = json.loads(json.dumps(recipe))
    return known


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what has changed, sorted.

    >>> differences({"images": "a", "parameter k": 8}, {"images": "a", "parameter k": 9, "model": None})
    ['model', 'parameter k']
    """
    missing = object()
    return sorted(name for name in before.keys() | now.keys() if before.get(name, missing) != now.get(name, missing))
