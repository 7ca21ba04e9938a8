"""Extraction of inventory rows, from a bucket in memory."""

from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import obstore
import pyarrow as pa
import pytest
from obstore.store import MemoryStore

from fruits_features.extraction import batches
from fruits_features.extraction.batches import BatchExtractor
from fruits_features.extraction.families.onnx import fetched_weights
from fruits_features.schemas import INVENTORY, arrow_schema
from tests.support.deadly_decoder.sitecustomize import ENDLESS_MARK, MARK
from tests.support.onnx_models import expected, model
from tests.support.pictures import stored

PICTURE = stored()["jpeg"].data


def inventory_of(objects: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """Store objects in a bucket that the extractor reads, and return their inventory."""
    bucket = MemoryStore()
    monkeypatch.setattr(batches, "open_bucket", lambda *_: bucket)
    rows = [
        {
            "key": f"images/Lime/{name}",
            "size": len(data),
            "etag": (obstore.put(bucket, f"images/Lime/{name}", data)["e_tag"] or "").strip('"'),
            "last_modified": datetime(2026, 1, 1, tzinfo=UTC),
            "split": None,
            "category": "Lime",
        }
        for name, data in objects.items()
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema(INVENTORY))


@pytest.fixture
def inventory(monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """The inventory of a bucket with two images, one image that crashes a marked decoder, and a text file."""
    objects = {"a.jpg": PICTURE, "b.jpg": PICTURE + MARK, "c.jpg": b"no image", "d.jpg": PICTURE}
    return inventory_of(objects, monkeypatch)


def outcome(inventory: pa.Table, *, isolated: bool) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """Return the names of extracted images, and stage and reason of rejected ones by name."""
    extractor = BatchExtractor(
        "fruits", ("orb",), max_bytes=10**6, max_pixels=10**6, include_pixels=True, isolated=isolated
    )
    (chunk,) = extractor.extract(inventory)
    rejected = {row["path"][-5:]: (row["stage"], row["reason"]) for row in chunk.rejected.to_pylist()}
    return [path[-5:] for path in chunk.extracted["path"].to_pylist()], rejected


def test_isolated_extractor_returns_the_same(inventory: pa.Table) -> None:
    expected = (["a.jpg", "b.jpg", "d.jpg"], {"c.jpg": ("decode", "not_an_image")})

    assert outcome(inventory, isolated=False) == expected
    assert outcome(inventory, isolated=True) == expected


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("batch", [2, 32])
def test_extractor_with_model_returns_every_embedding(
    inventory: pa.Table, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch, *, isolated: bool
) -> None:
    monkeypatch.setattr(batches, "BATCH_IMAGES", batch)
    (tmp_path / "m.onnx").write_bytes(model())
    with fetched_weights(str(tmp_path / "m.onnx")) as weights:
        extractor = BatchExtractor(
            "fruits", ("orb", "onnx"), 10**6, 10**6, include_pixels=False, model=weights, isolated=isolated
        )
        (chunk,) = extractor.extract(inventory)

    features = np.array(chunk.extracted["features"].to_pylist())
    assert [path[-5:] for path in chunk.extracted["path"].to_pylist()] == ["a.jpg", "b.jpg", "d.jpg"]
    np.testing.assert_allclose(features[:, 256:], [expected(PICTURE)] * 3, atol=1e-4)


def test_isolated_extractor_rejects_only_the_image_that_crashes(
    inventory: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "support" / "deadly_decoder"))

    assert outcome(inventory, isolated=True) == (
        ["a.jpg", "d.jpg"],
        {"b.jpg": ("decode", "decoder_crash"), "c.jpg": ("decode", "not_an_image")},
    )


def test_isolated_extractor_rejects_only_the_image_that_never_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "support" / "deadly_decoder"))
    monkeypatch.setattr(batches, "DEADLINE_S", 3)
    objects = {"a.jpg": PICTURE, "b.jpg": PICTURE + ENDLESS_MARK, "c.jpg": b"no image", "d.jpg": PICTURE}

    assert outcome(inventory_of(objects, monkeypatch), isolated=True) == (
        ["a.jpg", "d.jpg"],
        {"b.jpg": ("decode", "decoder_timeout"), "c.jpg": ("decode", "not_an_image")},
    )
    assert [message for message in caplog.messages if "longer" in message] == [
        "s3://fruits/images/Lime/b.jpg took longer than 3 s. Its process was killed."
    ]


@pytest.mark.parametrize("isolated", [False, True])
def test_chunk_with_pixels_has_a_limited_size(
    inventory: pa.Table, monkeypatch: pytest.MonkeyPatch, *, isolated: bool
) -> None:
    monkeypatch.setattr(batches, "DECODED_BYTES", 2 * 60 * 40 * 3)
    extractor = BatchExtractor(
        "fruits", ("orb",), max_bytes=10**6, max_pixels=10**6, include_pixels=True, isolated=isolated
    )

    chunks = [*extractor.extract(inventory)]

    assert [[path[-5:] for path in chunk.extracted["path"].to_pylist()] for chunk in chunks] == [
        ["a.jpg", "b.jpg"],
        ["d.jpg"],
    ]
    assert [chunk.rejected.num_rows for chunk in chunks] == [1, 0]


def test_image_larger_than_a_chunk_with_pixels_is_alone_in_its_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (cv2.imencode(".png", np.zeros((side, side, 3), np.uint8))[1].tobytes() for side in (10, 100))
    inventory = inventory_of({"a.png": small, "b.png": large, "c.png": small, "d.png": small}, monkeypatch)
    monkeypatch.setattr(batches, "DECODED_BYTES", 3 * 10 * 10 * 3)
    extractor = BatchExtractor("fruits", ("orb",), max_bytes=10**6, max_pixels=10**6, include_pixels=True)

    chunks = [chunk.extracted for chunk in extractor.extract(inventory)]

    assert [chunk["height"].to_pylist() for chunk in chunks] == [[10], [100], [10, 10]]
    assert [[len(image) for image in chunk["image"].to_pylist()] for chunk in chunks] == [[300], [30_000], [300, 300]]
