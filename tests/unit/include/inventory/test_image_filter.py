"""Objects that are no images are left out of the inventory and counted by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from include.inventory.image_filter import ImageFilter
from include.settings import Settings

if TYPE_CHECKING:
    from collections import Counter

OWN = (
    "features/latest.json",
    "features/runs/r/features/part-00000.parquet",
    "features/datasets/citrus/runs/r/report/index.html",
    "artifacts/launch-1.py",
    "logs/emr/j-1/steps/stderr.gz",
    "models/net.onnx",
    "reports/daily/2026-11-21T01-00Z/manifest.json",
)
SETTINGS = Settings(bucket="fruits", inventory_report="s3://fruits/reports/daily")


def _apply(image_filter: ImageFilter, *keys: str, size: int = 1) -> tuple[list[str], Counter[str]]:
    listed = pa.RecordBatch.from_pydict({"key": keys, "size": [size] * len(keys)})
    images, left_out = image_filter.apply(listed)
    return images["key"].to_pylist(), left_out


def test_own_files_of_the_pipeline_are_left_out_of_a_complete_bucket() -> None:
    keys, left_out = _apply(ImageFilter.of(SETTINGS, "fruits", "", None), "Limes/1.jpg", *OWN, "feature/2.jpg")

    assert keys == ["Limes/1.jpg", "feature/2.jpg"]
    assert left_out == {"own files": len(OWN)}


def test_folders_of_the_deployments_bucket_may_hold_images_in_another_bucket() -> None:
    keys, left_out = _apply(ImageFilter.of(SETTINGS, "orchard", "", None), *OWN)

    assert keys == ["artifacts/launch-1.py", "models/net.onnx", "reports/daily/2026-11-21T01-00Z/manifest.json"]
    assert left_out == {"own files": 4}


def test_own_prefix_that_contains_the_images_leaves_nothing_out() -> None:
    shared = Settings(bucket="fruits", artifact_prefix="fruits/", log_prefix="fruits/logs/")

    keys, left_out = _apply(ImageFilter.of(shared, "fruits", "fruits/", None), "fruits/logs/1", "fruits/Limes/1.jpg")

    assert (keys, left_out) == (["fruits/Limes/1.jpg"], {"own files": 1})
    assert _apply(ImageFilter.of(shared, "fruits", "fruits/Limes/", None), "fruits/Limes/1.jpg")[1] == {}


def test_markers_folder_objects_and_system_files_are_counted_apart() -> None:
    image_filter = ImageFilter.of(SETTINGS, "fruits", ".data/", "done.txt")

    keys, left_out = _apply(image_filter, ".data/done.txt", ".data/a/done.txt", ".data/a/._1.jpg", ".data/a/Thumbs.db")
    assert keys == [".data/a/done.txt"]
    assert left_out == {"markers": 1, "system files": 2}
    assert _apply(image_filter, ".data/", ".data/a/", ".data/a/1.jpg", size=0) == (
        [".data/a/1.jpg"],
        {"folder objects": 2},
    )
    assert _apply(image_filter, ".data/a/") == ([".data/a/"], {})
    assert _apply(image_filter) == ([], {})
