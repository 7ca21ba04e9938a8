import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from fruits_features import __version__
from fruits_features.contract.layout import DatasetLayout
from include.publication import documents
from tests.support.bit_flips import flip_bits

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)

RUN = {
    "name": "r",
    "bucket": "fruits",
    "uri": "s3://fruits/features/runs/r",
    "prefix": "images/",
    "images": 4,
    "size_bytes": 32,
    "categories": 1,
    "uncategorised": 0,
    "fitted": 4,
    "left_out": {"system files": 2},
    "warnings": ["The category 'test' has the name of a split."],
    "digest": "d",
    "source": "listing",
    "taken_at": "2026-11-22T07:59:00+00:00",
    "recipe": {"images": "d"},
}
SECONDS = {"start": 2.5, "describe": 10.25, "reduce": 1.5}
COST = {"estimate": {"dollars": 0.2}, "actual": {"dollars": 0.1}}
FIGURES = {
    "counts": {"inventory": 4, "features": 3, "quarantine": 1},
    "categories": {"Limes": 3},
    "projection": {"components": 2, "explained_variance": 0.9, "version": "0123"},
    "recogniser": {"categories": 2, "splits": {"Test": {"images": 3, "right": 2}}},
    "checks": [{"name": "readable", "passed": True, "saw": "every file", "wanted": "every file"}],
    "outcome": {
        "inventoried": 4,
        "reused": 3,
        "kept_from": "s3://fruits/p.npz",
        "why": "--refit is never.",
        "seconds": SECONDS,
    },
    "files": {"features/part-00000.parquet": "etag:0123"},
    "cost": COST,
}


def _document(figures: dict = FIGURES) -> dict:
    dag_run = {"dag_id": "fruits_features", "run_id": "manual"}
    artifacts = {"application": "s3://fruits/artifacts/a.zip"}
    return documents.run_document(RUN, figures=figures, params={"k": 2}, artifacts=artifacts, dag_run=dag_run)


def test_run_document_holds_expected_and_actual_cost() -> None:
    assert _document()["cost"] == COST


def test_run_document_names_everything_below_the_run() -> None:
    paths = _document()["paths"]

    assert paths["features"] == "s3://fruits/features/runs/r/features"
    assert all(path.startswith("s3://fruits/features/runs/r/") for path in paths.values())


def test_documents_name_the_recogniser_only_if_the_run_has_one() -> None:
    document, without = _document(), _document({**FIGURES, "recogniser": {}})

    assert document["recogniser"] == FIGURES["recogniser"]
    assert documents.latest_document(document, published_at="")["paths"]["recogniser"] == (
        "s3://fruits/features/runs/r/recogniser/recogniser.npz"
    )
    assert "recogniser" not in documents.latest_document(without, published_at="")["paths"]


def test_documents_hold_the_work_done_and_the_kept_projection() -> None:
    document = _document()

    assert document["work"] == {"described": 1, "reused": 3, "seconds": SECONDS}
    assert document["projection"]["kept_from"] == "s3://fruits/p.npz"
    assert documents.latest_document(document, published_at="")["projection"]["version"] == "0123"


def test_documents_hold_the_version_of_the_project_and_the_application() -> None:
    document = _document()

    assert document["versions"] == {"fruits_features": __version__, "application": "a.zip"}
    assert documents.latest_document(document, published_at="")["versions"] == document["versions"]


def test_latest_document_points_to_the_run_and_its_time() -> None:
    latest = documents.latest_document(_document(), published_at="2026-11-22T08:00:00+00:00")

    assert latest["run"] == "r"
    assert latest["paths"] == _document()["paths"]
    assert latest["published_at"] == "2026-11-22T08:00:00+00:00"
    assert latest["versions"]["application"] == "a.zip"


def test_latest_document_holds_the_checksums_of_all_published_files() -> None:
    document = _document()
    latest = documents.latest_document(document, published_at="2026-11-22T08:00:00+00:00")

    assert latest["checksums"] == {
        "features/part-00000.parquet": "etag:0123",
        "run.json": f"sha256:{sha256(documents.encode(document)).hexdigest()}",
    }


def test_written_documents_are_read() -> None:
    document = _document()
    latest = documents.latest_document(document, published_at="2026-11-22T08:00:00+00:00")

    assert documents.read_record(documents.encode(document), "run.json", latest["checksums"]["run.json"]) == document
    assert documents.read_latest(documents.encode(latest), DatasetLayout("fruits"), NOW) == latest


@pytest.mark.parametrize(("minutes", "is_read"), [(30, True), (30.1, False)])
def test_publication_by_a_clock_that_is_ahead_is_read(minutes: float, *, is_read: bool) -> None:
    """S3 accepts requests of clocks that differ by 15 minutes from its own, so those of two machines by 30."""
    ahead = NOW + timedelta(minutes=minutes)
    content = documents.encode(documents.latest_document(_document(), published_at=ahead.isoformat()))
    expected = nullcontext() if is_read else pytest.raises(documents.DocumentError, match="is in the future")

    with expected:
        documents.read_latest(content, DatasetLayout("fruits"), NOW)


def test_flip_in_a_document_fails_or_changes_nothing() -> None:
    document = _document()
    latest = documents.latest_document(document, published_at="2026-11-22T08:00:00+00:00")
    for written, read in (
        (document, lambda content: documents.read_record(content, "run.json")),
        (latest, lambda content: documents.read_latest(content, DatasetLayout("fruits"), NOW)),
    ):
        refused = 0
        for place, flipped in flip_bits(documents.encode(written), 300, seed=1):
            try:
                found = read(flipped)
            except documents.DocumentError:
                refused += 1
                continue
            assert {name: found.get(name) for name in written if name != "digest"} == {
                name: value for name, value in written.items() if name != "digest"
            }, place
        assert refused > 200  # the others are in white space or in the name of the digest


def test_encode_keeps_accents_readable() -> None:
    encoded = documents.encode({"category": "Crème"})

    assert "Crème".encode() in encoded
    assert json.loads(encoded) == {"category": "Crème"}
