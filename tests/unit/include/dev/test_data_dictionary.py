"""The data dictionary agrees with the code."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from fruits_features.contract.arguments import Arguments
from fruits_features.contract.rejections import Reason
from fruits_features.output.features_writer import file_metadata
from fruits_features.pca.fit import Moments, fit
from fruits_features.recogniser.model import CalibrationBin, Evaluation, Recogniser
from fruits_features.schemas import INVENTORY, METADATA, QUARANTINE, features_columns
from include.dev import data_dictionary
from include.emr.costs import Cost, Estimate, Hours
from include.publication import documents
from include.validation import recognition
from include.validation.checks import Check, ValidationReport
from include.validation.recogniser_drop import PAIRED, Change
from tests.support.described_fields import OF_LATEST, OF_RECORD, absent, undescribed


def test_page_is_as_the_schemas_are() -> None:
    assert data_dictionary.FILE.read_text(encoding="utf-8") == data_dictionary.render(), "stale: run `make docs`"


@pytest.mark.parametrize(
    "column", dict.fromkeys((*features_columns(include_pixels=True), *QUARANTINE, *INVENTORY)), ids=lambda c: c.name
)
def test_page_lists_every_column_with_its_meaning(column) -> None:  # noqa: ANN001
    (line,) = {
        line
        for line in data_dictionary.render().splitlines()
        if line.startswith(f"| `{column.name}` |") and column.meaning in line
    }

    assert line.split(" | ")[2] == ("yes" if column.nullable else "no")


def test_every_reason_has_a_meaning_of_its_own() -> None:
    meanings = [reason.meaning for reason in Reason]

    assert len({*meanings}) == len(meanings)
    assert all(meaning.endswith(".") for meaning in meanings)


def test_metadata_has_the_fields_of_the_page() -> None:
    arguments = Arguments(bucket="fruits", inventory="s3://fruits/i", output="s3://fruits/o", run="r")

    projection = fit(Moments.of(np.eye(4, 432, dtype=np.float32)), ["color"], k=1, explained_variance=None)

    assert file_metadata(arguments, projection).keys() == METADATA.keys()
    assert METADATA.keys() - file_metadata(arguments).keys() == {"projection"}


def _recogniser_figures() -> dict[str, Any]:
    """Return the figures of a recogniser as the validation reports them, with all optional ones."""
    names, probabilities = np.array(["Lime", "Plum 1.5"]), np.array([[0.9, 0.1], [0.8, 0.2]])
    evaluation = Evaluation(2, 2, 0.5, 0.7, 0.1, (CalibrationBin(2, 0.8, 0.5),))
    recogniser = Recogniser((*names.tolist(),), np.eye(2), np.zeros(2), "0123", (1, 1), 0.1, 1.0, evaluation)
    counts = recognition.SplitCounts()
    counts.add(names, probabilities, names)
    change = Change.of(PAIRED, (1.0, 2), (2.0, 2))
    assert change is not None
    return recognition.figures(recogniser, {"Test": counts}) | {"change": change.figures()}


def _record(recogniser: dict[str, Any]) -> dict[str, Any]:
    """Return `run.json` as the DAG builds it."""
    rows = {"inventory": 2, "features": 1, "quarantine": 1}
    projection = {"components": 2, "explained_variance": 0.9, "version": "0123"}
    report = ValidationReport(rows, {"Lime": 1}, projection, recogniser, (Check.any_rows("features", 1),))
    hours = Hours("m7g.xlarge", "SPOT", 1, 0.5, 0.05)
    figures = {
        "outcome": {
            "inventoried": 2,
            "reused": 1,
            "kept_from": None,
            "why": "There is none.",
            "seconds": {"start": 1, "describe": 2},
        },
        "files": {"features/part-00000.parquet": "etag:0123"},
        "cost": {
            "estimate": {**asdict(Estimate(10, 0.1, 0.2)), "prices": "eu-west-1"},
            "actual": Cost(0.05, (hours,), "eu-west-1", 0.5).as_dict(),
        },
    }
    run = dict.fromkeys(("images", "size_bytes", "categories", "uncategorised", "fitted"), 2) | {
        "name": "r",
        "uri": "s3://fruits/features/runs/r",
        "left_out": {"system files": 1},
        "warnings": [],
        "recipe": {"parameter k": None},
    }
    document = documents.run_document(
        run | dict.fromkeys(("prefix", "digest", "source", "taken_at"), "text"),
        figures={**report.as_dict(), **figures},
        params={"k": 2},
        artifacts={"application": "s3://fruits/artifacts/a.zip"},
        dag_run={"dag_id": "fruits_features", "run_id": "manual"},
    )
    as_stored: dict[str, Any] = json.loads(documents.encode(document))  # tuples become lists
    return as_stored


def test_page_lists_every_field_of_the_documents_and_no_other() -> None:
    record = _record(_recogniser_figures())
    latest = documents.latest_document(record, published_at="2026-11-22T08:00:00+00:00")

    assert undescribed(record, OF_RECORD) == []
    assert undescribed(latest, OF_LATEST) == []
    assert absent(record, OF_RECORD) == []
    assert absent(latest, OF_LATEST) == []


def test_field_without_a_description_is_found() -> None:
    record = _record({})
    record["counts"]["new"] = 1
    record["checks"][0]["new"] = 1
    record["recogniser"] = {"splits": {"Test": {"new": {"images": 1}}}}

    assert undescribed(record, OF_RECORD) == ["checks[].new", "counts.new", "recogniser.splits.Test.new.images"]


def test_page_marks_the_fields_that_are_checked_when_they_are_read() -> None:
    page = data_dictionary.render()

    for path in ("paths.run", "published_at", "counts.features", "categories.<category>"):
        assert f"| `{path}` |" in page
        assert page.partition(f"| `{path}` | ")[2].split(" | ")[1] == "yes"
    assert page.partition("| `cost.estimate.dollars` | ")[2].split(" | ")[:2] == ["number", "no"]
