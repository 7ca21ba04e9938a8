"""A bucket of images becomes published features; the same run twice gives the same rows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
import pytest

from fruits_features.projection import Projection

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("published")

ODD_NAMES = ["images/Test/Crème brûlée #1/50% off + tax.jpg", "images/Test/Banana/a b&c=d.jpg"]
DATE = "2026-03-01"


def _jpeg(width: int, height: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", pixels)[1])


@pytest.fixture(scope="module")
def published(pipeline: Pipeline, fruit_images: Path) -> None:
    """A run over good images, oddly named ones, and every kind that cannot be described."""
    pipeline.put_folder(fruit_images)
    good = next(fruit_images.rglob("*.jpg")).read_bytes()
    for key in ODD_NAMES:
        pipeline.put(key, good)
    pipeline.put("images/Test/Banana/text.jpg", b"no image at all")
    pipeline.put("images/Test/Banana/empty.jpg", b"")
    pipeline.put("images/Test/Banana/cut.jpg", good[: len(good) // 2])
    pipeline.put("images/Test/Banana/huge.png", bytes(cv2.imencode(".png", np.zeros((10_000, 10_000), np.uint8))[1]))
    pipeline.put("images/stray.jpg", good)
    run = pipeline.run(DATE, max_quarantine_share=0.2, k=8)
    assert run.ok, run.log[-4000:]


def test_every_image_is_in_exactly_one_place(pipeline: Pipeline) -> None:
    features, quarantine = pipeline.table("features"), pipeline.table("quarantine")

    assert features.height == 48 + len(ODD_NAMES)
    assert set(quarantine.select("path", "stage", "reason").iter_rows()) == {
        (f"s3://{pipeline.bucket}/images/Test/Banana/text.jpg", "decode", "not_an_image"),
        (f"s3://{pipeline.bucket}/images/Test/Banana/empty.jpg", "fetch", "empty"),
        (f"s3://{pipeline.bucket}/images/Test/Banana/cut.jpg", "decode", "truncated"),
        (f"s3://{pipeline.bucket}/images/Test/Banana/huge.png", "decode", "too_many_pixels"),
        (f"s3://{pipeline.bucket}/images/stray.jpg", "fetch", "no_category"),
    }


def test_odd_names_keep_their_spelling_and_category(pipeline: Pipeline) -> None:
    features = pipeline.table("features")

    found = features.filter(pl.col("path").is_in([f"s3://{pipeline.bucket}/{key}" for key in ODD_NAMES]))
    assert sorted(found["category"]) == ["Banana", "Crème brûlée #1"]


def test_published_documents_tell_what_a_reader_needs(pipeline: Pipeline) -> None:
    latest, record = pipeline.latest(), pipeline.record()

    assert latest["run"] == f"{DATE}T000000Z-fruits_features"
    assert latest["counts"] == {"inventory": 55, "features": 50, "quarantine": 5}
    assert latest["projection"]["components"] == 8
    assert 0 < latest["projection"]["explained_variance"] <= 1
    assert record["dag"]["dag_id"] == "fruits_features"
    assert record["params"]["k"] == 8
    assert all(check["passed"] for check in record["checks"])
    assert "/artifacts/fruits_features-" in record["artifacts"]["application"]


def test_projection_without_spark_gives_the_row_of_the_same_image(pipeline: Pipeline) -> None:
    key = pipeline.latest()["paths"]["projection"].removeprefix(f"s3://{pipeline.bucket}/")
    projection = Projection.from_bytes(pipeline.s3.get_object(Bucket=pipeline.bucket, Key=key)["Body"].read())
    row = pipeline.table("features").row(0, named=True)
    image_key = row["path"].removeprefix(f"s3://{pipeline.bucket}/")

    vector = projection.embed(pipeline.s3.get_object(Bucket=pipeline.bucket, Key=image_key)["Body"].read())

    np.testing.assert_allclose(vector, row["pca"], atol=1e-4)


def test_cluster_is_gone_and_its_step_ran_the_copy_in_s3(pipeline: Pipeline) -> None:
    assert pipeline.cluster_states() == [("TERMINATED", "USER_REQUEST")]
    assert pipeline.aws.active_clusters() == []
    listed = pipeline.s3.list_objects_v2(Bucket=pipeline.bucket, Prefix="logs/emr/")["Contents"]
    assert [entry["Key"] for entry in listed if "/steps/" in entry["Key"] and entry["Key"].endswith("stderr.gz")]


def test_same_date_again_gives_the_same_rows_beside_the_published_ones(pipeline: Pipeline) -> None:
    before, first = pipeline.table("features"), pipeline.latest()

    again = pipeline.run(DATE, max_quarantine_share=0.2, k=8)

    assert again.ok, again.log[-4000:]
    after, second = pipeline.table("features"), pipeline.latest()
    assert second["run"] == f"{first['run']}-2"
    assert after.drop("pca").equals(before.drop("pca"))
    np.testing.assert_allclose(np.stack(after["pca"]), np.stack(before["pca"]), atol=1e-4)


def test_published_rows_read_with_other_libraries(pipeline: Pipeline) -> None:
    duckdb = pytest.importorskip("duckdb")
    frame = pipeline.table("features")
    buffer = io.BytesIO()
    frame.write_parquet(buffer)

    assert duckdb.sql("select count(*) from frame where len(pca) = 8").fetchone() == (50,)
