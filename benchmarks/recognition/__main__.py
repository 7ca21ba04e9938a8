"""Measure recognition and cost of the feature families: the table of docs/reference/features.md.

    PYTHONPATH=spark_apps python -m benchmarks.recognition --data FOLDER --test

FOLDER (default: FRUITS_REAL_IMAGES) contains `grocery-fruit/{Training,Test}/<category>/*.jpg` and
`fruits-360-sample/<category>/*.jpg`. For each combination of families the application's functions extract features,
scale them by family and reduce them to 128 components, fitted on the training images. Each component is then divided by
the square root of its standard deviation, which is half of a whitening. Two classifiers of scikit-learn use the result:
logistic regression, and the nearest neighbour by cosine. All figures are recalls, averaged over categories.

- *visits*: cross-validation on Training. Photos of one visit to a shop stay in one fold.
- *other light*: the same, with queries that are changed like photos of another shop and phone. The families were chosen
  by the mean of these two.
- *Test*: share of the images of Test that the default families recognise, fitted on Training (`--test`). It is measured
  only after a choice has been made.
"""

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.image_sizes import best_ms, decode_completely
from benchmarks.recognition.illuminant import rephotograph
from benchmarks.recognition.shop_visits import (
    COMPONENTS,
    INVERSE_REGULARISATION,
    MAX_PIXELS,
    Split,
    read_visits,
    split_visits,
)
from fruits_features.contract.families import DEFAULT_FAMILIES, FAMILIES, dimensions, total_dimension
from fruits_features.extraction.extract import ImageExtractor, ImageFeatures
from fruits_features.pca.fit import Moments, fit

OTHER_LIGHTS = 2  # changed copies of each photo
ROUNDS = 20  # measurements of the time per image, of which the fastest counts

Features = dict[str, NDArray[np.float32]]
Guesses = NDArray[np.str_]


@dataclass(frozen=True)
class Photographs:
    """Photos with their categories and their features by family, in the same order."""

    paths: list[Path]
    categories: NDArray[np.str_]
    features: Features


def read(folder: Path, families: Sequence[str]) -> Photographs:
    """Read the photos below a folder and extract all families.

    Raises:
        SystemExit: The folder has no photos.
    """
    paths = sorted(folder.glob("*/*.jpg"))
    if not paths:
        raise SystemExit(f"No photos: {folder}/<category>/*.jpg matches no file. Give another folder with --data.")
    features = _features((path.read_bytes() for path in paths), families)
    return Photographs(paths, np.array([path.parent.name for path in paths]), features)


def read_in_other_light(paths: Sequence[Path], families: Sequence[str], seed: int) -> Features:
    """Return all families' features of changed photos."""
    random = np.random.default_rng(seed)
    images = (cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in paths)
    changed = (rephotograph(np.asarray(image, np.uint8), random) for image in images)
    return _features((_png(image) for image in changed), families)


def _features(images: Iterable[bytes], families: Sequence[str]) -> Features:
    rows = np.stack([_extract(data, families).features for data in images])
    ends = np.cumsum(dimensions(families, rows.shape[1]))[:-1]
    return dict(zip(families, np.split(rows, ends, axis=1), strict=True))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def recognise(training: Features, categories: NDArray[np.str_], *queries: Features) -> list[tuple[Guesses, Guesses]]:
    """Fit projection and classifiers on training images, and predict the categories of queries.

    Returns:
        For each set of queries the predictions of the linear classifier and of the nearest neighbour.
    """
    rows = np.concatenate(list(training.values()), axis=1)
    projection = fit(Moments.of(rows), tuple(training), k=min(COMPONENTS, rows.shape[1]), explained_variance=None)
    projected = projection.project(rows)
    scale = np.sqrt(projected.std(axis=0))
    linear = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=300).fit(projected / scale, categories)
    nearest = KNeighborsClassifier(n_neighbors=1, metric="cosine").fit(projected / scale, categories)
    scaled = [projection.project(np.concatenate(list(query.values()), axis=1)) / scale for query in queries]
    return [(linear.predict(values), nearest.predict(values)) for values in scaled]


def cross_validate(
    variants: Sequence[Features], categories: NDArray[np.str_], splits: Sequence[Split]
) -> NDArray[np.float64]:
    """Return the recalls of a cross-validation, shape (variants, 2), for linear and nearest.

    Args:
        variants: Features of the photos, then those of changed copies, which are queries only.
        categories: Categories of the photos.
        splits: Indices of training photos and of queries.
    """
    hits = np.zeros((len(variants), 2, len(categories)))
    tries = np.zeros(len(categories))
    for learn, fold in splits:
        held = fold[np.isin(categories[fold], categories[learn])]  # all visits of a category may fall into one fold
        training = {name: values[learn] for name, values in variants[0].items()}
        queries = [{name: values[held] for name, values in variant.items()} for variant in variants]
        guesses = np.array(recognise(training, categories[learn], *queries))
        hits[..., held] += guesses == categories[held]
        tries[held] += 1
    recalls = [
        hits[..., mask].sum(axis=2) / tries[mask].sum()
        for mask in (categories == name for name in np.unique(categories))
    ]
    return np.asarray(np.mean(recalls, axis=0), np.float64)


def cost_ms(images: Sequence[bytes], families: Sequence[str]) -> float:
    """Return the mean time from bytes to features in ms on one core, with the fastest round of each image.

    ORB's keypoints are always detected for the column `descriptors`, with or without the family `orb`.
    """
    return best_ms(images, lambda data: _extract(data, families), ROUNDS)


def decode_ms(images: Sequence[bytes]) -> float:
    """Return the mean time of JPEG decoding in ms, measured like `cost_ms`."""
    return best_ms(images, decode_completely, ROUNDS)


def _extract(data: bytes, families: Sequence[str]) -> ImageFeatures:
    outcome = ImageExtractor(tuple(families), MAX_PIXELS).extract(data)
    if not isinstance(outcome, ImageFeatures):
        raise SystemExit(f"A photo was rejected: {outcome.detail}")
    return outcome


def _combinations(families: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each family alone, then the combinations of the default ones."""
    combined = [names for n in range(2, len(DEFAULT_FAMILIES) + 1) for names in combinations(DEFAULT_FAMILIES, n)]
    return [(name,) for name in families] + [names for names in combined if set(names) <= set(families)]


def report(data: Path, families: Sequence[str], *, test: bool) -> None:
    """Measure and print the table row by row."""
    training = read(data / "grocery-fruit" / "Training", families)
    changed = [read_in_other_light(training.paths, families, seed) for seed in range(OTHER_LIGHTS)]
    held_out = read(data / "grocery-fruit" / "Test", families) if test else None
    small = [path.read_bytes() for path in sorted((data / "fruits-360-sample").glob("*/*.jpg"))]
    large = [path.read_bytes() for path in training.paths[:: len(training.paths) // 50]]
    visits = read_visits(training.paths)
    splits = list(split_visits(training.categories, visits))
    print(f"numpy {np.__version__}, OpenCV {cv2.__version__}, scikit-learn {sklearn.__version__}")
    print(f"{len(training.paths)} Training photos of {len(np.unique(visits))} visits")
    print(f"decoding: {decode_ms(small):.2f} ms at 100 x 100, {decode_ms(large):.2f} ms at 348 x 348\n")
    headings = [f"{where} {how}" for where in ("visits", "other light", "Test") for how in ("linear", "kNN")]
    print("| families | numbers | " + " | ".join(headings) + " | ms at 100 | ms at 348 |\n|" + "---|" * 10)
    for names in _combinations(families):
        variants = [_only(names, features) for features in (training.features, *changed)]
        recalls = cross_validate(variants, training.categories, splits)
        figures = [*recalls[0], *recalls[1:].mean(axis=0)]
        if held_out and names == DEFAULT_FAMILIES:
            (guesses,) = recognise(variants[0], training.categories, _only(names, held_out.features))
            figures += [float((guess == held_out.categories).mean()) for guess in guesses]
        cells = [f"{figure:.3f}" for figure in figures] + ["-"] * (6 - len(figures))
        costs = f"{cost_ms(small, names):.2f} | {cost_ms(large, names):.2f}"
        numbers = total_dimension(names)
        print(f"| {' + '.join(names)} | {numbers} | {' | '.join(cells)} | {costs} |", flush=True)


def _only(names: Sequence[str], features: Features) -> Features:
    return {name: features[name] for name in names}


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.recognition", description="Measure recognition and cost of the feature families."
    )
    default = os.environ.get("FRUITS_REAL_IMAGES")  # the variable of the tests with real photos
    parser.add_argument("--data", type=Path, default=default, help="folder of the photos (default: FRUITS_REAL_IMAGES)")
    parser.add_argument("--families", default=",".join(DEFAULT_FAMILIES), help="families (default: %(default)s)")
    parser.add_argument("--test", action="store_true", help="also measure Test, after a choice has been made")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("no photos: give --data FOLDER, or set FRUITS_REAL_IMAGES.")
    families, known = arguments.families.split(","), [name for name, family in FAMILIES.items() if family.dimension]
    if not set(families) <= set(known):
        parser.error(
            f"--families is {arguments.families!r}; choose from {', '.join(known)}. "
            "`python -m benchmarks.recognition.recogniser --network` measures the model."
        )
    cv2.setNumThreads(1)
    report(arguments.data, families, test=arguments.test)


if __name__ == "__main__":
    main()
