import json
from hashlib import sha256

from include.publication import documents

RUN = {
    "name": "r",
    "bucket": "fruits",
    "uri": "s3://fruits/features/runs/r",
    "images": 4,
    "size_bytes": 32,
    "categories": 1,
    "uncategorised": 0,
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


def _document() -> dict:
    dag_run = {"dag_id": "fruits_features", "run_id": "manual"}
    artifacts = {"application": "s3://fruits/artifacts/a.zip"}
    return documents.run_document(RUN, figures=FIGURES, params={"k": 2}, artifacts=artifacts, dag_run=dag_run)


def test_run_document_holds_expected_and_actual_cost() -> None:
    assert _document()["cost"] == COST


def test_run_document_names_everything_below_the_run() -> None:
    paths = _document()["paths"]

    assert paths["features"] == "s3://fruits/features/runs/r/features"
    assert all(path.startswith("s3://fruits/features/runs/r/") for path in paths.values())


def test_documents_hold_the_work_done_and_the_kept_projection() -> None:
    document = _document()

    assert document["work"] == {"described": 1, "reused": 3, "seconds": SECONDS}
    assert document["projection"]["kept_from"] == "s3://fruits/p.npz"
    assert documents.latest_document(document, published_at="")["projection"]["version"] == "0123"


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


def test_encode_keeps_accents_readable() -> None:
    encoded = documents.encode({"category": "Crème"})

    assert "Crème".encode() in encoded
    assert json.loads(encoded) == {"category": "Crème"}
