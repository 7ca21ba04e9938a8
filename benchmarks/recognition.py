"""How well the families tell fruits apart, and what they cost: the table of docs/reference/features.md.

    PYTHONPATH=spark_apps python -m benchmarks.recognition --data FOLDER --test

FOLDER (by default what FRUITS_REAL_IMAGES names) holds `grocery-fruit/{Training,Test}/<category>/*.jpg` and
`fruits-360-sample/<category>/*.jpg`. Every combination of families goes the application's own way: described, scaled by
family, reduced to 128 components fitted on the images to learn from. Each component is then divided by the square root
of its standard deviation (half-way to whitening), and two classifiers of scikit-learn look at the result: logistic
regression, and the nearest neighbour by cosine. All figures are recalls, averaged over categories.

- *visits*: cross-validation on Training in which photographs of one visit to a shop stay together.
- *other light*: the same, but the photographs to recognise are changed as another shop and phone might change them.
  The families were chosen by the mean of these two.
- *Test*: fitted on Training, share of images recognised by the default families; looked at once a choice (`--test`).
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.illuminant import rephotograph
from benchmarks.shop_visits import read_visits
from fruits_features.contract.families import DEFAULT_FAMILIES, FAMILIES
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures
from fruits_features.pca.fit import Moments, fit

COMPONENTS = 128
MAX_PIXELS = 10**7
FOLDS, REPEATS = 5, 3
INVERSE_REGULARISATION = 30.0  # chosen by cross-validation on Training from 1, 3, 10, 30, 100
OTHER_LIGHTS = 2  # changed photographs of each
ROUNDS = 20

Features = dict[str, NDArray[np.float32]]
Guesses = NDArray[np.str_]
Split = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Photographs:
    """Photographs of one group: their features by family and their categories, in the same order."""

    paths: list[Path]
    categories: NDArray[np.str_]
    features: Features


def read(folder: Path, families: Sequence[str]) -> Photographs:
    """Describe every photograph below a folder by every family."""
    paths = sorted(folder.glob("*/*.jpg"))
    if not paths:
        raise SystemExit(f"No photographs: {folder}/<category>/*.jpg matches nothing. Name another folder by --data.")
    features = _features((path.read_bytes() for path in paths), families)
    return Photographs(paths, np.array([path.parent.name for path in paths]), features)


def read_in_other_light(paths: Sequence[Path], families: Sequence[str], seed: int) -> Features:
    """Describe changed photographs by every family."""
    random = np.random.default_rng(seed)
    images = (cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in paths)
    changed = (rephotograph(np.asarray(image, np.uint8), random) for image in images)
    return _features((_png(image) for image in changed), families)


def _features(images: Iterable[bytes], families: Sequence[str]) -> Features:
    rows = np.stack([_describe(data, families).features for data in images])
    ends = np.cumsum([FAMILIES[name].dimension for name in families])[:-1]
    return dict(zip(families, np.split(rows, ends, axis=1), strict=True))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def recognise(learn: Features, known: NDArray[np.str_], *looks: Features) -> list[tuple[Guesses, Guesses]]:
    """Fit projection and classifiers on some images, and guess the categories of others: linear, nearest."""
    rows = np.concatenate(list(learn.values()), axis=1)
    projection = fit(Moments.of(rows), tuple(learn), k=min(COMPONENTS, rows.shape[1]), explained_variance=None)
    seen = projection.project(rows)
    scale = np.sqrt(seen.std(axis=0))
    linear = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=300).fit(seen / scale, known)
    nearest = KNeighborsClassifier(n_neighbors=1, metric="cosine").fit(seen / scale, known)
    unseen = [projection.project(np.concatenate(list(look.values()), axis=1)) / scale for look in looks]
    return [(linear.predict(values), nearest.predict(values)) for values in unseen]


def cross_validate(
    looks: Sequence[Features], categories: NDArray[np.str_], splits: Sequence[Split]
) -> NDArray[np.float64]:
    """Recognise every fold by the others: recalls, as many rows as looks, linear and nearest.

    Args:
        looks: features of the photographs to learn from and to recognise; then others of the same photographs, only to
            recognise.
        categories: of the photographs.
        splits: photographs to learn from and to recognise.
    """
    hits = np.zeros((len(looks), 2, len(categories)))
    tries = np.zeros(len(categories))
    for learn, fold in splits:
        held = fold[np.isin(categories[fold], categories[learn])]  # all visits of a category may fall into one fold
        known = {name: values[learn] for name, values in looks[0].items()}
        asked = [{name: values[held] for name, values in look.items()} for look in looks]
        guesses = np.array(recognise(known, categories[learn], *asked))
        hits[..., held] += guesses == categories[held]
        tries[held] += 1
    recalls = [
        hits[..., of_kind].sum(axis=2) / tries[of_kind].sum()
        for of_kind in (categories == name for name in np.unique(categories))
    ]
    return np.asarray(np.mean(recalls, axis=0), np.float64)


def split_visits(categories: NDArray[np.str_], visits: NDArray[np.int64]) -> Iterator[Split]:
    """Split so that no visit is on both sides, and categories are spread as evenly as that allows."""
    for seed in range(REPEATS):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        yield from folds.split(categories, categories, visits)


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


def _describe(data: bytes, families: Sequence[str]) -> ImageFeatures:
    outcome = ImageExtractor(families, MAX_PIXELS).extract(data)
    if not isinstance(outcome, ImageFeatures):
        raise SystemExit(f"A photograph cannot be described: {outcome.detail}")
    return outcome


def _combinations(families: Sequence[str]) -> list[tuple[str, ...]]:
    """List every family alone, then the default ones in company."""
    together = [names for n in range(2, len(DEFAULT_FAMILIES) + 1) for names in combinations(DEFAULT_FAMILIES, n)]
    return [(name,) for name in families] + [names for names in together if set(names) <= set(families)]


def report(data: Path, families: Sequence[str], *, test: bool) -> None:
    """Print the table, a row as soon as it is known."""
    training = read(data / "grocery-fruit" / "Training", families)
    changed = [read_in_other_light(training.paths, families, seed) for seed in range(OTHER_LIGHTS)]
    held_out = read(data / "grocery-fruit" / "Test", families) if test else None
    small = [path.read_bytes() for path in sorted((data / "fruits-360-sample").glob("*/*.jpg"))]
    large = [path.read_bytes() for path in training.paths[:: len(training.paths) // 50]]
    visits = read_visits(training.paths)
    splits = list(split_visits(training.categories, visits))
    print(f"numpy {np.__version__}, OpenCV {cv2.__version__}, scikit-learn {sklearn.__version__}")
    print(f"{len(training.paths)} Training photographs of {len(np.unique(visits))} visits")
    print(f"decoding: {decode_ms(small):.2f} ms at 100 x 100, {decode_ms(large):.2f} ms at 348 x 348\n")
    headings = [f"{where} {how}" for where in ("visits", "other light", "Test") for how in ("linear", "kNN")]
    print("| families | numbers | " + " | ".join(headings) + " | ms at 100 | ms at 348 |\n|" + "---|" * 10)
    for names in _combinations(families):
        looks = [_only(names, features) for features in (training.features, *changed)]
        recalls = cross_validate(looks, training.categories, splits)
        figures = [*recalls[0], *recalls[1:].mean(axis=0)]
        if held_out and names == DEFAULT_FAMILIES:
            (guesses,) = recognise(looks[0], training.categories, _only(names, held_out.features))
            figures += [float((guess == held_out.categories).mean()) for guess in guesses]
        cells = [f"{figure:.3f}" for figure in figures] + ["-"] * (6 - len(figures))
        costs = f"{cost_ms(small, names):.2f} | {cost_ms(large, names):.2f}"
        numbers = sum(FAMILIES[name].dimension for name in names)
        print(f"| {' + '.join(names)} | {numbers} | {' | '.join(cells)} | {costs} |", flush=True)


def _only(names: Sequence[str], features: Features) -> Features:
    return {name: features[name] for name in names}


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description="Print how well the feature families tell fruits apart.")
    default = os.environ.get("FRUITS_REAL_IMAGES")  # as the tests that want real photographs
    parser.add_argument("--data", type=Path, default=default, help="default: the environment's FRUITS_REAL_IMAGES")
    parser.add_argument("--families", default=",".join(DEFAULT_FAMILIES), help="which ones (default: %(default)s)")
    parser.add_argument("--test", action="store_true", help="report Test too: once a choice, when it is made")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("no photographs: give --data FOLDER, or set FRUITS_REAL_IMAGES.")
    cv2.setNumThreads(1)
    report(arguments.data, arguments.families.split(","), test=arguments.test)


if __name__ == "__main__":
    main()
