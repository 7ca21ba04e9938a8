"""Build the documents of a run: its record `run.json`, and `latest.json`, which points to the published run.

Readers start at `latest.json`. It is written last, in one PUT, which S3 makes visible atomically. The caller stores the
documents. Both contain their own digest, and are checked against a schema when they are read.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, BaseModel, NonNegativeInt, PositiveInt, ValidationError

from fruits_features import __version__
from fruits_features.contract import sealed
from fruits_features.contract.layout import DOCUMENT_FORMAT, RunLayout
from fruits_features.contract.sealed import DamagedDocumentError
from include.publication.fields import SHARED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fruits_features.contract.layout import DatasetLayout

MAX_CLOCK_SKEW = timedelta(minutes=30)
"""Largest time by which a publication may be in the future.

S3 refuses requests of clocks that differ from its own by more than 15 minutes (RequestTimeTooSkewed:
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). So the clocks of two writers differ by at most 30.
"""


class DocumentError(ValueError):
    """A document cannot be used. The message is one sentence that names the object and the fix."""


class _TakenAt(BaseModel):
    taken_at: AwareDatetime | None = None


class _Paths(BaseModel):
    run: str
    projection: str | None = None


class Latest(BaseModel):
    """Fields of `latest.json` that the pipeline reads. Older versions wrote no inventory."""

    format: Literal[1] = DOCUMENT_FORMAT
    run: str
    published_at: AwareDatetime
    inventory: _TakenAt = _TakenAt()
    paths: _Paths
    checksums: dict[str, str] = {}


class _DagRun(BaseModel):
    dag_id: str
    run_id: str | None = None


class _Counts(BaseModel):
    features: NonNegativeInt
    quarantine: NonNegativeInt


class _Projection(BaseModel):
    components: NonNegativeInt
    explained_variance: float


class _Recognised(BaseModel):
    images: PositiveInt
    right: NonNegativeInt


class _Recogniser(BaseModel):
    splits: dict[str, _Recognised] = {}


class Record(BaseModel):
    """Fields of `run.json` that the pipeline and the pages read.

    Older versions wrote no fingerprint, no cost and no recogniser.
    """

    format: Literal[1] = DOCUMENT_FORMAT
    run: str
    dag: _DagRun
    counts: _Counts
    categories: dict[str, NonNegativeInt]
    projection: _Projection
    recogniser: _Recogniser = _Recogniser()
    recipe: dict[str, Any] = {}
    cost: dict[str, Any] | None = None


_INVENTORY = (
    *("prefix", "images", "size_bytes", "categories", "uncategorised", "fitted", "left_out", "warnings"),
    *("digest", "source", "taken_at"),
)


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
    document = {
        "format": DOCUMENT_FORMAT,
        "run": run["name"],
        "dag": dict(dag_run),
        "inventory": {key: run[key] for key in _INVENTORY},
        "counts": figures["counts"],
        "categories": figures["categories"],
        "projection": {**figures["projection"], "kept_from": outcome["kept_from"], "why": outcome["why"]},
        "recogniser": figures["recogniser"],
        "work": {
            "described": outcome["inventoried"] - outcome["reused"],
            "reused": outcome["reused"],
            "seconds": outcome["seconds"],
        },
        "checks": figures["checks"],
        "cost": figures["cost"],
        "paths": _paths(RunLayout(run["uri"]), has_recogniser=bool(figures["recogniser"])),
        "versions": {"fruits_features": __version__, "application": artifacts["application"].rpartition("/")[2]},
        "files": figures["files"],
        "params": dict(params),
        "artifacts": dict(artifacts),
        "recipe": dict(run["recipe"]),
    }
    return sealed.seal(document)


def latest_document(document: Mapping[str, Any], *, published_at: str) -> dict[str, Any]:
    """Return `latest.json`, which is sufficient to read the published run.

    Args:
        document: `run.json` of the published run.
        published_at: Time of the publication in ISO 8601.
    """
    latest = {
        **{name: document[name] for name in SHARED},
        "published_at": published_at,
        "checksums": {"run.json": _checksum(encode(document)), **document["files"]},
    }
    return sealed.seal(latest)


def _paths(run: RunLayout, *, has_recogniser: bool) -> dict[str, str]:
    """Return the URIs of a run's results."""
    return {
        "inventory": run.inventory,
        "features": run.features,
        "quarantine": run.quarantine,
        "projection": run.portable_projection,
        "spark_model": run.spark_model,
        "report": run.report_page,
        "run": run.record,
        **({"recogniser": run.portable_recogniser} if has_recogniser else {}),
    }


def read_latest(content: bytes, dataset: DatasetLayout, now: datetime) -> dict[str, Any]:
    """Return the document `latest.json` of encoded bytes.

    Args:
        content: Content of the object.
        dataset: Its data set.
        now: Current time.

    Raises:
        DocumentError: The document is damaged, or of a later time than `now` and `MAX_CLOCK_SKEW`.
    """
    uri = dataset.latest
    fix = f"restore an earlier version of this object, or copy the newest object below {dataset.history}/ to it"
    try:
        document = sealed.decode(content)
        fields = Latest.model_validate_json(content, strict=True)
    except (DamagedDocumentError, ValidationError) as error:
        raise DocumentError(f"{uri} is damaged ({_describe(error)}): {fix}.") from error
    times = {"published_at": fields.published_at, "inventory.taken_at": fields.inventory.taken_at}
    for name, time in times.items():
        if time and time > now + MAX_CLOCK_SKEW:
            raise DocumentError(
                f"{uri} has the {name} {time.isoformat()}, which is in the future (now {now.isoformat()}), so that no "
                f"run could be published: correct this machine's clock, or {fix}."
            )
    return document


def read_record(content: bytes, uri: str, checksum: str | None = None) -> dict[str, Any]:
    """Return the document `run.json` of encoded bytes.

    Args:
        content: Content of the object.
        uri: URI of the object.
        checksum: Its checksum in `latest.json`; `None` for no check.

    Raises:
        DocumentError: The document is damaged.
    """
    try:
        document = sealed.decode(content)
        Record.model_validate_json(content, strict=True)
    except (DamagedDocumentError, ValidationError) as error:
        raise DocumentError(f"{uri} is damaged ({_describe(error)}).") from error
    if checksum not in {None, _checksum(content)}:
        raise DocumentError(f"{uri} is damaged (its checksum is not the one in latest.json).")
    return document


def _describe(error: DamagedDocumentError | ValidationError) -> str:
    """Return an error without its values, on one line."""
    if isinstance(error, DamagedDocumentError):
        return str(error)
    fields = (f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors(include_url=False))
    return "; ".join(fields)


def _checksum(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as UTF-8 JSON, indented and sorted, so that people can read it and `diff` can compare it."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
