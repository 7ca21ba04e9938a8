"""A run on photographs of real fruit in the folder FRUITS_REAL_IMAGES."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.airflow.pipeline import Pipeline

FOLDER = os.environ.get("FRUITS_REAL_IMAGES")
pytestmark = pytest.mark.skipif(not FOLDER, reason="FRUITS_REAL_IMAGES is not set to a folder of real photographs")


@pytest.mark.parametrize(
    ("name", "images", "categories", "splits"),
    [("fruits-360-sample", 100, 10, {None}), ("grocery-fruit", 1253, 28, {"Training", "Test"})],
)
def test_features_are_extracted_from_all_real_photographs(
    pipeline: Pipeline, name: str, images: int, categories: int, splits: set[str | None]
) -> None:
    prefix = f"{name}/"
    assert pipeline.put_folder(Path(str(FOLDER)) / name, prefix) == images

    run = pipeline.run("2026-03-02", image_prefix=prefix, replace_dataset=True)

    assert run.ok, run.error
    features = pipeline.table("features")
    assert features.height == images
    assert features["category"].n_unique() == categories
    assert set(features["split"].to_list()) == splits
    assert features.filter(features["keypoints"] == 0).height < images * 0.02
    assert pipeline.latest()["projection"]["explained_variance"] >= 0.95
