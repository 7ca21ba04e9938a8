"""Build the documents of a run: its record `run.json`, and `latest.json`, which points to the published run.

Readers start at `latest.json`. It is written last, in one PUT, which S3 makes visible atomically. The caller stores the
documents.
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
"""Version of both documents. A change that existing readers cannot read increases it."""


_INVENTORY = ("images", "size_bytes", "categories", "uncategorised", "digest", "source", "taken_at")


def run_document(
    run: Mapping[str, Any],
    *,
    figures: Mapping[str, Any],
    params: Mapping[str, Any],
    artifacts: Mapping[str, str],
    dag_run: Mapping[str, str],
) -> dict[str, Any]:
    """Return `run.json`: input, output and software of a run, sufficient to explain it or to run it again.

    Args:
        run: Result of `take_inventory`, with the run's fingerprint (`include.publication.fingerprint`) as `recipe`.
        figures: Result of the validation, with `files` (checksums by the objects' names in the run), `outcome` (the
            application's report: images found in the feature cache, projection, seconds) and `cost` (expected and
            actual cost of the cluster, docs/guides/costs.md; `None` if the DAG creates no cluster).
        params: Parameters of the DAG run.
        artifacts: URIs of the artifacts that the cluster ran, which are named by hashes of their content.
        dag_run: Ids of the DAG and of the DAG run.
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
    """Return `latest.json`, which is sufficient to read the published run.

    Args:
        document: `run.json` of the published run.
        published_at: Time of the publication in ISO 8601.
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
    """Return the URIs of a run's results."""
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
    """Return the document of encoded bytes."""
    document: dict[str, Any] = json.loads(content)
    return document


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as UTF-8 JSON, indented and sorted, so that people can read it and `diff` can compare it."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
