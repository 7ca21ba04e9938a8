"""Measure what app.onnx loses against the recogniser of all families.

    PYTHONPATH=.:spark_apps python -m benchmarks.recognition.app_model --data FOLDER

FOLDER (default: FRUITS_REAL_IMAGES) contains `grocery-fruit/{Training,Test}/<category>/*.jpg`. Projection and
recogniser are fitted as in a run with the default families, the network that ships and the default explained variance.
*Visits* is the cross-validation of `benchmarks.recognition`, with recall averaged over categories. *Test* is a share of
images; `top 5` counts images whose category is among the five most probable ones.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.recognition.shop_visits import MAX_PIXELS, read_visits, split_visits
from fruits_features.contract.arguments import DEFAULT_EXPLAINED_VARIANCE
from fruits_features.contract.families import DEFAULT_FAMILIES, MODEL_FAMILY
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures, add_embeddings
from fruits_features.extraction.families.onnx import BATCH_IMAGES, Model
from fruits_features.pca.fit import Moments, fit
from fruits_features.projection import Projection
from fruits_features.recogniser import calibration
from fruits_features.recogniser.fit import ComponentSums
from fruits_features.recogniser.sample import TrainingImages
from include.deploy.model import build as model
from include.deploy.uploads import WHEELS

FAMILIES = (*DEFAULT_FAMILIES, MODEL_FAMILY)
VARIANTS = ("recogniser.npz", "app.onnx")
TOP = 5


@dataclass(frozen=True)
class Photographs:
    """Photographs with their categories and features, in the same order."""

    paths: list[Path]
    categories: NDArray[np.str_]
    features: NDArray[np.float32]


def read(folder: Path, network: Model) -> Photographs:
    """Read the photographs below a folder, and extract all families."""
    paths = sorted(folder.glob("*/*.jpg"))
    extractor = ImageExtractor(FAMILIES, MAX_PIXELS, model_size=network.size)
    rows: list[NDArray[np.float32]] = []
    for start in range(0, len(paths), BATCH_IMAGES):
        outcomes = [extractor.extract(path.read_bytes()) for path in paths[start : start + BATCH_IMAGES]]
        images = add_embeddings(outcomes, FAMILIES, network)
        rows += [image.features for image in images if isinstance(image, ImageFeatures)]
    return Photographs(paths, np.array([path.parent.name for path in paths]), np.stack(rows))


def ranks(learn: Photographs, queries: Photographs) -> NDArray[np.int64]:
    """Return the rank of each query's category, 0 for the most probable one, shape (variants, queries)."""
    projection = fit(Moments.of(learn.features), FAMILIES, k=None, explained_variance=DEFAULT_EXPLAINED_VARIANCE)
    columns = projection.columns(MODEL_FAMILY)
    parts = ((projection, slice(None)), (projection.part(MODEL_FAMILY), columns))
    return np.array([_ranks(learn, queries, part, used) for part, used in parts])


def _ranks(learn: Photographs, queries: Photographs, projection: Projection, columns: slice) -> NDArray[np.int64]:
    names, code = np.unique(learn.categories, return_inverse=True)
    images = TrainingImages.of(len(names), code.astype(np.int32))
    sums = ComponentSums.of(projection.project(learn.features[:, columns]), images.code, images.sample)
    recogniser = calibration.fit(sums, names.tolist(), projection.version)
    probabilities = recogniser.probabilities(projection.project(queries.features[:, columns]))
    order = np.array(recogniser.categories)[np.argsort(-probabilities, axis=1)]
    matches = order == queries.categories[:, np.newaxis]
    return np.where(matches.any(axis=1), matches.argmax(axis=1), len(recogniser.categories))


def cross_validate(photographs: Photographs) -> NDArray[np.float64]:
    """Return the recall of each variant by visits, averaged over categories."""
    right, tries = np.zeros((len(VARIANTS), len(photographs.paths))), np.zeros(len(photographs.paths))
    visits = read_visits(photographs.paths)
    for learn, fold in split_visits(photographs.categories, visits):
        held = fold[np.isin(photographs.categories[fold], photographs.categories[learn])]
        right[:, held] += ranks(_select(photographs, learn), _select(photographs, held)) == 0
        tries[held] += 1
    masks = [photographs.categories == name for name in np.unique(photographs.categories)]
    return np.asarray(np.mean([right[:, mask].sum(axis=1) / tries[mask].sum() for mask in masks], axis=0))


def _select(photographs: Photographs, rows: NDArray[np.int64]) -> Photographs:
    paths = [photographs.paths[row] for row in rows]
    return Photographs(paths, photographs.categories[rows], photographs.features[rows])


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.recognition.app_model", description=__doc__.partition("\n")[0]
    )
    default = os.environ.get("FRUITS_REAL_IMAGES")  # the variable of the tests with real photos
    parser.add_argument("--data", type=Path, default=default, help="folder of the photos (default: FRUITS_REAL_IMAGES)")
    data = parser.parse_args(argv).data
    if data is None:
        parser.error("no photos: give --data FOLDER, or set FRUITS_REAL_IMAGES.")
    cv2.setNumThreads(1)
    network = Model(str(model.build(WHEELS)), "the network that ships")
    training, test = (read(data / "grocery-fruit" / split, network) for split in ("Training", "Test"))
    by_visits, in_test = cross_validate(training), ranks(training, test)
    print("| file | visits | Test | Test, top 5 |\n|---|---|---|---|")
    for name, recall, rank in zip(VARIANTS, by_visits, in_test, strict=True):
        right = rank == 0
        test_cell = f"{right.mean():.3f} ({right.sum()} of {len(right)})"
        print(f"| {name} | {recall:.3f} | {test_cell} | {(rank < TOP).mean():.3f} |")


if __name__ == "__main__":
    main()
