"""What readers follow: a run's own record, and the pointer to the run that is published.

Write, audit, publish: `run.json` stays beside its data, `latest.json` is the one object that others read first. It
is written last, in one PUT, which S3 makes visible whole or not at all. Both are built here and stored by the caller.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fruits_features import __version__
from fruits_features.contract.layout import RunLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Version of both documents; grows when a reader of today could not read tomorrow's."""


_INVENTORY = ("images", "size_bytes", "categories", "uncategorised", "digest", "source", "taken_at")


def run_document(
    run: Mapping[str, Any],
    *,
    figures: Mapping[str, Any],
    params: Mapping[str, Any],
    artifacts: Mapping[str, str],
    dag_run: Mapping[str, str],
) -> dict[str, Any]:
    """`run.json`: what a run read, made and ran, complete enough to explain it or to run it again.

    Args:
        run: the run as `take_inventory` fixed it, and its `recipe` (`include.publication.fingerprint`).
        figures: what validation counted and checked; `files`: each object's checksum by its name in the run; `outcome`:
            what the application says of images that it knew already, of its projection and of the seconds it took; and
            `cost`: what the cluster was to cost and has cost (docs/guides/costs.md), `None` where the DAG has none of its own.
        params: the DAG run's parameters.
        artifacts: URIs of what the cluster ran, named by their content's hash.
        dag_run: ids of the DAG and of its run.
    """
    outcome = figures["outcome"]
    return {
        "format": FORMAT,
        "run": run["name"],
        "dag": dict(dag_run),
        "inventory": {key: run[key] for key in _INVENTORY},
        "counts": figures["counts"],
        "categories": figures["categories"],
        "projection": {**figures["projection"], "kept_from": outcome["kept_from"], "why": outcome["why"]},
        "work": {
            "described": outcome["inventoried"] - outcome["reused"],
            "reused": outcome["reused"],
            "seconds": outcome["seconds"],
        },
        "checks": figures["checks"],
        "cost": figures["cost"],
        "paths": _paths(RunLayout(run["uri"])),
        "versions": {"fruits_features": __version__, "application": artifacts["application"].rpartition("/")[2]},
        "files": figures["files"],
        "params": dict(params),
        "artifacts": dict(artifacts),
        "recipe": dict(run["recipe"]),
    }


def latest_document(document: Mapping[str, Any], *, published_at: str) -> dict[str, Any]:
    """`latest.json`: enough to read the published run without looking further.

    Args:
        document: the published run's `run.json`.
        published_at: the moment, in ISO 8601.
    """
    return {
        "format": FORMAT,
        "run": document["run"],
        "published_at": published_at,
        "inventory": document["inventory"],
        "counts": document["counts"],
        "projection": document["projection"],
        "versions": document["versions"],
        "paths": document["paths"],
        "checksums": {"run.json": f"sha256:{sha256(encode(document)).hexdigest()}", **document["files"]},
    }


def _paths(run: RunLayout) -> dict[str, str]:
    """Where each result of a run lies."""
    return {
        "inventory": run.inventory,
        "features": run.features,
        "quarantine": run.quarantine,
        "projection": run.portable_projection,
        "spark_model": run.spark_model,
        "report": run.report_page,
        "run": run.record,
    }


def decode(content: bytes) -> dict[str, Any]:
    """Read a document back."""
    document: dict[str, Any] = json.loads(content)
    return document


def encode(document: Mapping[str, Any]) -> bytes:
    """A document as UTF-8 JSON that people can read and `diff` can compare."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
