"""Compute the fingerprint of a run: its images, application and parameters. Equal fingerprints give equal results."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fruits_features.contract.arguments import Arguments

LOCATIONS = ("bucket", "region", "inventory", "output", "run", "store", "published")
"""Arguments that are locations, and therefore not part of the fingerprint. All other arguments change the result."""


def run_fingerprint(
    run: Mapping[str, Any], *, arguments: Arguments, artifacts: Mapping[str, str], model: str | None
) -> dict[str, Any]:
    """Return the fingerprint of a run as JSON values by name.

    Args:
        run: Result of `take_inventory`.
        arguments: Arguments of the application.
        artifacts: URIs of the artifacts that the cluster runs, which are named by hashes of their content.
        model: Version of the model's content, or `None` without a model.
    """
    fingerprint = {
        "images": run["digest"],
        "image_prefix": run["prefix"],
        "model": model,
        **{role: uri.rpartition("/")[2] for role, uri in artifacts.items()},
        **{f"parameter {name}": value for name, value in asdict(arguments).items() if name not in LOCATIONS},
    }
    as_stored: dict[str, Any] = json.loads(json.dumps(fingerprint))  # tuples become lists, as in run.json
    return as_stored


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the sorted names of the values that differ between two fingerprints.

    >>> differences({"images": "a", "parameter k": 8}, {"images": "a", "parameter k": 9, "model": None})
    ['model', 'parameter k']
    """
    missing = object()
    return sorted(name for name in before.keys() | now.keys() if before.get(name, missing) != now.get(name, missing))
