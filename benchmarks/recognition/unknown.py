"""Measure how well photographs of unknown categories are detected (docs/measurements/recognition.md).

    PYTHONPATH=.:spark_apps python -m benchmarks.recognition.unknown --data FOLDER [--network]

FOLDER is that of `benchmarks.recognition`. In each split by visits, each random third of the categories is left out
once. Projection and recogniser are fitted on the other categories as in a run. Queries are the held-out visits of the
known categories, all photographs of the categories left out, and images without fruit. A score has one threshold for
all splits, which keeps a share of the known photographs. A photograph with a smaller score counts as detected.
"""

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from benchmarks.recognition.recogniser import Labels, Rows, answers, extract, features, fit
from benchmarks.recognition.shop_visits import Split, read_visits, split_visits
from fruits_features.client.neighbours import ExactSearch
from fruits_features.contract.arguments import DEFAULT_EXPLAINED_VARIANCE
from fruits_features.contract.families import DEFAULT_FAMILIES, MODEL_FAMILY
from fruits_features.extraction.families.onnx import Model
from fruits_features.io.vectors import unit_vectors
from fruits_features.pca.fit import Moments
from fruits_features.pca.fit import fit as fit_projection
from fruits_features.projection import Projection
from fruits_features.recogniser.model import Recogniser
from include.deploy.model import build
from include.deploy.uploads import WHEELS

SCORES = ("probability", "cosine of the nearest", "mean cosine of five", "probability times cosine")
NEIGHBOURS = 5
KEPT = (0.95, 0.75)
"""Shares of the known photographs that the thresholds of a score keep."""
PARTS = 3
"""Random parts of the categories. Each part is left out once per split."""
UNKNOWN = "unknown fruit"
WITHOUT_FRUIT = ("Cauliflower", "Corn", "Onion white", "Tomato 1", "Walnut")
"""Categories of `fruits-360-sample`, on white."""
TILES = (2, 3)
"""Rows and columns into which each of the two photographs of scikit-learn, a temple and a flower, is cut."""
DRAWN = 48
SIDE = 348
"""Width and height of a drawn image in pixels, as of most photographs."""

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """Projection and recogniser of a run, and the search for its nearest training images."""

    projection: Projection
    recogniser: Recogniser
    search: ExactSearch

    @classmethod
    def of(cls, rows: Rows, labels: Labels, families: Sequence[str]) -> Self:
        """Fit on training images as a run does."""
        projection = fit_projection(Moments.of(rows), families, k=None, explained_variance=DEFAULT_EXPLAINED_VARIANCE)
        components = projection.project(rows)
        return cls(projection, fit(components, labels), ExactSearch(unit_vectors(components)))

    def scores(self, rows: Rows) -> Scores:
        """Return the scores of photographs, shape (scores, photographs). Known ones should have larger scores."""
        components = self.projection.project(rows)
        probability = self.recogniser.probabilities(components).max(axis=1)
        cosines = np.array([self.search.search(row, NEIGHBOURS)[1] for row in unit_vectors(components)])
        return np.stack([probability, cosines[:, 0], cosines.mean(axis=1), probability * cosines[:, 0]])

    def answers(self, rows: Rows) -> Labels:
        """Return the most probable category of each photograph."""
        return answers(self.recogniser, self.projection.project(rows))


@dataclass(frozen=True)
class Outcome:
    """Results of a split.

    Args:
        known: Scores of the held-out photographs of known categories, shape (scores, photographs).
        right: Whether the recogniser's answer is right for each of them.
        others: Scores of the other photographs by kind, shape (scores, photographs) each.
    """

    known: Scores
    right: NDArray[np.bool_]
    others: Mapping[str, Scores]


def images_without_fruit(data: Path) -> dict[str, list[bytes]]:
    """Return encoded images by kind.

    Args:
        data: Folder that contains `fruits-360-sample`.
    """
    vegetables = [path for name in WITHOUT_FRUIT for path in sorted((data / "fruits-360-sample" / name).glob("*.jpg"))]
    tiles = [tile for image in load_sample_images().images for tile in _tiles(image)]
    return {
        "vegetables": [path.read_bytes() for path in vegetables],
        "tiles": [_png(tile) for tile in tiles],
        "drawn": [_png(_drawn(seed)) for seed in range(DRAWN)],
    }


def _tiles(image: Pixels) -> list[Pixels]:
    rows, columns = TILES
    return [tile for band in np.array_split(image, rows) for tile in np.array_split(band, columns, axis=1)]


def _drawn(seed: int) -> Pixels:
    """Return random colours, from a gradient between four to noise of 256 x 256."""
    cells = 2 ** (1 + seed % 8)
    colours = np.random.default_rng(seed).integers(0, 256, (cells, cells, 3), np.uint8)
    return np.asarray(cv2.resize(colours, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def _png(pixels: Pixels) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def outcomes(
    rows: Rows, labels: Labels, splits: Iterable[Split], families: Sequence[str], others: Mapping[str, Rows]
) -> list[Outcome]:
    """Return the results of all splits.

    Args:
        rows: Features of the photographs of all categories.
        labels: Their categories.
        splits: Indices of training photographs and of queries.
        families: Families of the features.
        others: Features of images without fruit, by kind.
    """
    found, names = [], np.unique(labels)
    for seed, (learn, fold) in enumerate(splits):
        for left_out in np.array_split(np.random.default_rng(seed).permutation(names), PARTS):
            learnt = learn[~np.isin(labels[learn], left_out)]
            held = fold[np.isin(labels[fold], labels[learnt])]  # all visits of a category may fall into one fold
            run = Run.of(rows[learnt], labels[learnt], families)
            queries = {UNKNOWN: rows[np.isin(labels, left_out)], **others}
            scores = {kind: run.scores(values) for kind, values in queries.items()}
            found.append(Outcome(run.scores(rows[held]), run.answers(rows[held]) == labels[held], scores))
    return found


def report(found: Sequence[Outcome]) -> None:
    """Print a line per share and score."""
    known = np.concatenate([outcome.known for outcome in found], axis=1)
    right = np.concatenate([outcome.right for outcome in found])
    others = {kind: np.concatenate([outcome.others[kind] for outcome in found], axis=1) for kind in found[0].others}
    print(f"{len(found)} fits, {len(right)} known queries, {right.mean():.3f} of them recognised")
    headings = ["kept", "score", "AUROC (smallest, largest)", "threshold", "right", *others]
    print(f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    for share, (row, score) in product(KEPT, enumerate(SCORES)):
        areas = [_area(outcome.known[row], outcome.others[UNKNOWN][row]) for outcome in found]
        threshold = np.quantile(known[row], 1 - share)
        detected = [(scores[row] < threshold).mean() for scores in others.values()]
        figures = [threshold, right[known[row] >= threshold].mean(), *detected]
        area = f"{np.mean(areas):.3f} ({min(areas):.2f}, {max(areas):.2f})"
        print(f"| {share} | {score} | {area} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")


def _area(known: Scores, unknown: Scores) -> float:
    """Return the area under the ROC curve: the probability that a known photograph has the larger score."""
    truth = np.repeat([True, False], [len(known), len(unknown)])
    return float(roc_auc_score(truth, np.concatenate([known, unknown])))


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.recognition.unknown", description=__doc__.partition("\n")[0])
    default = os.environ.get("FRUITS_REAL_IMAGES")  # the variable of the tests with real photos
    parser.add_argument("--data", type=Path, default=default, help="folder of the photos (default: FRUITS_REAL_IMAGES)")
    parser.add_argument("--network", action="store_true", help="with the network that ships")
    options = parser.parse_args(argv)
    if options.data is None:
        parser.error("no photos: give --data FOLDER, or set FRUITS_REAL_IMAGES.")
    cv2.setNumThreads(1)
    families = (*DEFAULT_FAMILIES, MODEL_FAMILY) if options.network else DEFAULT_FAMILIES
    model = Model(str(build.build(WHEELS)), "the network that ships") if options.network else None
    paths, rows, labels = extract(options.data / "grocery-fruit" / "Training", families, model)
    images = images_without_fruit(options.data)
    others = {kind: features(content, families, model) for kind, content in images.items()}
    report(outcomes(rows, labels, split_visits(labels, read_visits(paths)), families, others))


if __name__ == "__main__":
    main()
