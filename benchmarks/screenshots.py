"""Take the screenshots report-* of docs/screenshots, of a report about sample images, some of them broken.

    PYTHONPATH=.:spark_apps python -m benchmarks.screenshots docs/screenshots [--page report.html]

Features are extracted and projected by the application's functions, without Spark. Times, costs and the previous run
are invented. The command needs Chromium.
"""

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import Browser, sync_playwright
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from benchmarks.report import features, path
from fruits_features import schemas
from fruits_features.contract.arguments import DEFAULT_EXPLAINED_VARIANCE, DEFAULT_MAX_IMAGE_PIXELS
from fruits_features.contract.families import DEFAULT_FAMILIES
from fruits_features.contract.layout import FITTED_SPLIT, DatasetLayout
from fruits_features.contract.rejections import Rejected
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures
from fruits_features.io.vectors import as_matrix
from fruits_features.pca.fit import Moments, fit
from fruits_features.projection import Projection
from fruits_features.recogniser import calibration
from fruits_features.recogniser.fit import ComponentSums
from fruits_features.recogniser.model import Recogniser
from fruits_features.recogniser.sample import NONE, TrainingImages
from include.dev.sample_images import Image, fruits_360, make_plan
from include.dev.sample_images.drawing import draw
from include.report.build import About, Inputs, Previous, build
from include.run_files import RunFiles
from include.validation import recognition

LAYOUT = DatasetLayout("fruits").run("2026-11-22T000000Z-fruits_features")
IMAGES, BROKEN = 3_023, 23
SECONDS = {
    "wait_for_images": 1.2,
    "take_inventory": 3.4,
    "upload_application": 2.1,
    "find_changes": 0.9,
    "plan_cluster": 0.3,
    "create_cluster": 1.1,
    "cluster_ready": 284.0,
    "featurize_and_reduce": 96.0,
    "terminate_cluster": 71.0,
    "validate_parquet": 6.8,
}
DOLLARS = {"cluster_ready": 0.062, "featurize_and_reduce": 0.021, "terminate_cluster": 0.015}
SCREENSHOTS = (
    ("light", 1280, ("top", "components", "plane")),
    ("light", 390, ("top", "recognition")),
    ("dark", 1280, ("plane", "neighbours", "recognition")),
    ("dark", 390, ("plane",)),
)
SELECTED = ("Pepper", "Avocado")
MAX_HEIGHT = 1_500
LOAD_PICTURES = "Promise.all([...document.images].map((one) => { one.loading = 'eager'; return one.decode(); }))"


def objects(plan: Sequence[Image]) -> dict[str, bytes]:
    """Return the objects of the bucket by key. Some of them are broken."""
    drawn = {f"images/{image.path}": draw(image.category, image.frame, 0) for image in plan}
    for number, key in enumerate(list(drawn)[::131][:BROKEN]):
        drawn[key] = (drawn[key][: len(drawn[key]) // 2], b"", b"<html>Not found</html>")[number % 3]
    return drawn


def write(folder: Path, plan: Sequence[Image], bucket: Mapping[str, bytes]) -> Projection:
    """Extract the features, and write the parts of a run's tables that the report reads."""
    outcomes = {
        image: ImageExtractor(DEFAULT_FAMILIES, DEFAULT_MAX_IMAGE_PIXELS).extract(bucket[f"images/{image.path}"])
        for image in plan
    }
    extracted = {image: outcome for image, outcome in outcomes.items() if isinstance(outcome, ImageFeatures)}
    fitted = [outcome.features for image, outcome in extracted.items() if image.split == FITTED_SPLIT]
    moments = Moments.of(np.stack(fitted))
    projection = fit(moments, DEFAULT_FAMILIES, k=None, explained_variance=DEFAULT_EXPLAINED_VARIANCE)
    rows = {
        "path": [path(image) for image in extracted],
        "split": [image.split for image in extracted],
        "category": [image.category for image in extracted],
        "pca": projection.project(np.stack([outcome.features for outcome in extracted.values()])),
    }
    rejected = [
        {
            "path": path(image),
            "size": len(bucket[f"images/{image.path}"]),
            "stage": outcome.stage,
            "reason": outcome.reason,
            "detail": outcome.detail,
        }
        for image, outcome in outcomes.items()
        if isinstance(outcome, Rejected)
    ]
    _write(folder, LAYOUT.inventory, pa.table({"key": list(bucket)}))
    _write(folder, LAYOUT.features, features(rows))
    _write(folder, LAYOUT.quarantine, pa.Table.from_pylist(rejected, schema=schemas.arrow_schema(schemas.QUARANTINE)))
    return projection


def _write(folder: Path, uri: str, table: pa.Table) -> None:
    target = folder / uri.removeprefix("s3://")
    target.mkdir(parents=True)
    pq.write_table(table, target / "part-00000.parquet")


def recognise(files: RunFiles, projection: Projection) -> tuple[Recogniser, dict[str, Any]]:
    """Fit a recogniser on the run's Training images. Return it with its figures of all images."""
    batch = pa.concat_batches(list(files.features.batches(["split", "category", "pca"])))
    splits, labels = (cast("pl.Series", pl.from_arrow(batch[name])) for name in ("split", "category"))
    trained = splits == FITTED_SPLIT
    names = labels.filter(trained).unique().sort()
    codes = labels.replace_strict(names, range(len(names)), default=NONE, return_dtype=pl.Int32)
    images = TrainingImages.of(len(names), np.where(trained, codes, NONE).astype(np.int32))
    sums = ComponentSums.of(as_matrix(batch["pca"]), images.code, images.sample)
    recogniser = calibration.fit(sums, tuple(names), projection.version)
    return recogniser, recognition.figures(recogniser, recognition.recognise(recogniser, batch))


def report(folder: Path) -> bytes:
    """Build the report of a run about sample images."""
    plan = make_plan(list(fruits_360()), IMAGES)
    bucket = objects(plan)
    projection = write(folder, plan, bucket)
    files = RunFiles(LAYOUT, SubTreeFileSystem(str(folder), LocalFileSystem()))
    recogniser, figures = recognise(files, projection)
    params = {"features": list(DEFAULT_FAMILIES), "explained_variance": DEFAULT_EXPLAINED_VARIANCE, "refit": "auto"}
    before = {"run": "2026-11-21T000000Z-fruits_features", "categories": {"Apple Braeburn": 12}}
    made = build(
        Inputs(
            run=LAYOUT.name,
            files=files,
            projection=projection,
            recogniser=recogniser,
            validation={"checks": [], "recogniser": figures},
            fetch=bucket.get,
            seconds=SECONDS,
            dollars=DOLLARS,
            expected_dollars=0.13,
            previous=Previous(before),
            about=About(
                "s3://fruits/images/",
                "2026-11-22T00:04:05+00:00",
                None,
                "There is no published projection to keep.",
                params,
            ),
        )
    )
    return made.html


def take(browser: Browser, page: Path, folder: Path) -> None:
    """Take the screenshots."""
    for scheme, width, names in SCREENSHOTS:
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        tab.goto(page.absolute().as_uri())
        tab.locator("#plane canvas").first.wait_for()
        tab.locator("#variance canvas").first.wait_for()
        tab.locator("#confidences canvas").first.wait_for()
        tab.evaluate(LOAD_PICTURES)
        for category in SELECTED:
            tab.get_by_role("searchbox").fill(category)
            tab.get_by_role("button", name="Select these").click()
        for name in names:
            position = "box => [box.getBoundingClientRect().top + scrollY, box.getBoundingClientRect().height]"
            top, section_height = tab.locator("header" if name == "top" else f"#{name}").evaluate(position)
            height = MAX_HEIGHT if name == "top" else min(section_height + 24, MAX_HEIGHT)
            clip = {"x": 0, "y": 0 if name == "top" else top, "width": width, "height": height}
            shot = folder / f"report-{name}-{width}-{scheme}.png"
            tab.screenshot(path=shot, full_page=True, clip=clip)  # type: ignore[arg-type]
        tab.close()


def main() -> None:
    """Build the report and take the screenshots."""
    parser = argparse.ArgumentParser("python -m benchmarks.screenshots", description="Take the report's screenshots.")
    parser.add_argument("folder", type=Path, help="folder of the pictures")
    parser.add_argument("--page", type=Path, help="file to which the page is also written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = arguments.page or Path(folder) / "report.html"
        page.write_bytes(report(Path(folder)))
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take(browser, page, arguments.folder)
        browser.close()


if __name__ == "__main__":
    main()
