"""How well the families tell fruits apart, and what they cost: the table of docs/features.md.

    PYTHONPATH=spark_apps python -m benchmarks.recognition --data FOLDER --test

FOLDER (by default what FRUITS_REAL_IMAGES names) holds `grocery-fruit/{Training,Test}/<category>/*.jpg` and
`fruits-360-sample/<category>/*.jpg`. Every combination of families goes the application's own way: described, scaled by
family, reduced to 128 components fitted on the images to learn from. Then two classifiers of scikit-learn look at the
components: logistic regression, and the nearest neighbour by cosine.

- *scenes*: cross-validation on Training in which photographs of one scene stay together; the families were chosen by
  this. Still optimistic: scenes share shops and days.
- *images*: cross-validation on Training image by image; optimistic, as near-duplicates part.
- *Test*: fitted on Training, looked at once (`--test`).
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.scenes import find_scenes
from fruits_features.components import Moments, fit
from fruits_features.description import Description, describe_image
from fruits_features.families import DEFAULT_FAMILIES, FAMILIES

COMPONENTS = 128
MAX_PIXELS = 10**7
FOLDS, REPEATS = 5, 3
INVERSE_REGULARISATION = 30.0  # chosen by cross-validation on Training from 3, 10, 30, 100, 300
ROUNDS = 20

Features = dict[str, NDArray[np.float32]]
Split = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Photographs:
    """Photographs of one group: their features by family and their categories, in the same order."""

    paths: list[Path]
    categories: NDArray[np.str_]
    features: Features


@dataclass(frozen=True)
class Accuracy:
    """Share of images recognised at the first guess, over the folds: linear and nearest neighbour."""

    linear: NDArray[np.float64]
    nearest: NDArray[np.float64]

    def __str__(self) -> str:
        """Tell mean and standard deviation; the mean alone where there is one fold."""
        figures = (self.linear, self.nearest)
        return " | ".join(f"{x.mean():.3f}" + (f" ± {x.std(ddof=1):.3f}" if len(x) > 1 else "") for x in figures)


def read(folder: Path, families: Sequence[str]) -> Photographs:
    """Describe every photograph below a folder by every family."""
    paths = sorted(folder.glob("*/*.jpg"))
    if not paths:
        raise SystemExit(f"No photographs: {folder}/<category>/*.jpg matches nothing. Name another folder by --data.")
    rows = [_describe(path.read_bytes(), families).features for path in paths]
    ends = np.cumsum([FAMILIES[name].dimension for name in families])[:-1]
    parts = np.split(np.stack(rows), ends, axis=1)
    return Photographs(paths, np.array([path.parent.name for path in paths]), dict(zip(families, parts, strict=True)))


def recognise(learn: Features, known: NDArray[np.str_], look: Features, truth: NDArray[np.str_]) -> tuple[float, float]:
    """Fit projection and classifiers on some images, and count what they recognise of others: linear, nearest."""
    names, rows = tuple(learn), np.concatenate(list(learn.values()), axis=1)
    projection = fit(Moments.of(rows), names, k=min(COMPONENTS, rows.shape[1]), explained_variance=None)
    seen, unseen = projection.project(rows), projection.project(np.concatenate(list(look.values()), axis=1))
    linear = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=300)
    nearest = KNeighborsClassifier(n_neighbors=1, metric="cosine")
    first, second = (float(model.fit(seen, known).score(unseen, truth)) for model in (linear, nearest))
    return first, second


def cross_validate(features: Features, categories: NDArray[np.str_], splits: Sequence[Split]) -> Accuracy:
    """Recognise every fold by the others."""

    def at(rows: NDArray[np.int64]) -> Features:
        return {name: values[rows] for name, values in features.items()}

    scores = [recognise(at(fit_), categories[fit_], at(held), categories[held]) for fit_, held in splits]
    linear, nearest = np.array(scores).T
    return Accuracy(linear, nearest)


def split_scenes(categories: NDArray[np.str_], scenes: NDArray[np.int64]) -> Iterator[Split]:
    """Split so that no scene is on both sides, and categories are spread as evenly as that allows."""
    for seed in range(REPEATS):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        yield from folds.split(categories, categories, scenes)


def cost_ms(images: Sequence[bytes], families: Sequence[str]) -> float:
    """Time bytes to features: the mean over images of each one's best round, in ms of one core.

    ORB's keypoints are always found, for the column `descriptors`, whether or not `orb` is among the families.
    """
    return _best_ms(images, lambda data: _describe(data, families))


def decode_ms(images: Sequence[bytes]) -> float:
    """Time JPEG decoding alone, as `cost_ms` does."""
    return _best_ms(images, lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))


def _best_ms(images: Sequence[bytes], work: Callable[[bytes], object]) -> float:
    best = np.full(len(images), np.inf)
    for _ in range(ROUNDS):
        for i, data in enumerate(images):
            start = time.perf_counter()
            work(data)
            best[i] = min(best[i], time.perf_counter() - start)
    return float(best.mean() * 1000)


def _describe(data: bytes, families: Sequence[str]) -> Description:
    outcome = describe_image(data, families, MAX_PIXELS)
    if not isinstance(outcome, Description):
        raise SystemExit(f"A photograph cannot be described: {outcome.detail}")
    return outcome


def _combinations(families: Sequence[str]) -> list[tuple[str, ...]]:
    """List every family alone, then the default ones in company."""
    together = [names for n in range(2, len(DEFAULT_FAMILIES) + 1) for names in combinations(DEFAULT_FAMILIES, n)]
    return [(name,) for name in families] + [names for names in together if set(names) <= set(families)]


def report(data: Path, families: Sequence[str], *, test: bool) -> None:
    """Print the table, a row as soon as it is known."""
    training = read(data / "grocery-fruit" / "Training", families)
    held_out = read(data / "grocery-fruit" / "Test", families) if test else None
    small = [path.read_bytes() for path in sorted((data / "fruits-360-sample").glob("*/*.jpg"))]
    large = [path.read_bytes() for path in training.paths[:: len(training.paths) // 50]]
    scenes = find_scenes(training.paths, training.categories)
    by_scene = list(split_scenes(training.categories, scenes))
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=1, random_state=0)
    by_image = list(folds.split(training.categories, training.categories))
    print(f"numpy {np.__version__}, OpenCV {cv2.__version__}, scikit-learn {sklearn.__version__}")
    print(f"{len(training.paths)} Training photographs of {scenes.max() + 1} scenes")
    print(f"decoding: {decode_ms(small):.2f} ms at 100 x 100, {decode_ms(large):.2f} ms at 348 x 348\n")
    headings = [f"{where} {how}" for where in ("scenes", "images", "Test") for how in ("linear", "kNN")]
    print("| families | numbers | " + " | ".join(headings) + " | ms at 100 | ms at 348 |\n|" + "---|" * 10)
    for names in _combinations(families):
        features = {name: training.features[name] for name in names}
        accuracies = [cross_validate(features, training.categories, splits) for splits in (by_scene, by_image)]
        if held_out:
            look = {name: held_out.features[name] for name in names}
            scores = recognise(features, training.categories, look, held_out.categories)
            accuracies.append(Accuracy(*(np.array([score]) for score in scores)))
        figures = " | ".join(map(str, accuracies)) + ("" if held_out else " | - | -")
        numbers = sum(FAMILIES[name].dimension for name in names)
        costs = f"{cost_ms(small, names):.2f} | {cost_ms(large, names):.2f}"
        print(f"| {' + '.join(names)} | {numbers} | {figures} | {costs} |", flush=True)


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description="Print how well the feature families tell fruits apart.")
    default = os.environ.get("FRUITS_REAL_IMAGES")  # as the tests that want real photographs
    parser.add_argument("--data", type=Path, default=default, help="default: the environment's FRUITS_REAL_IMAGES")
    parser.add_argument("--families", default="orb,color,texture", help="which ones (default: %(default)s)")
    parser.add_argument("--test", action="store_true", help="report Test too: once, when the choice is made")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("no photographs: give --data FOLDER, or set FRUITS_REAL_IMAGES.")
    cv2.setNumThreads(1)
    report(arguments.data, arguments.families.split(","), test=arguments.test)


if __name__ == "__main__":
    main()
