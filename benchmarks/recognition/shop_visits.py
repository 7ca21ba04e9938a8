"""Cross-validation over visits to a shop, with the settings that all measurements of recognition share.

Photos of one visit show the same crates under the same light. If a fold contains some of them and the training images
others, the recall measures memory instead of recognition. `shop_visits.txt` lists the visits of the Training photos of
the Grocery Store data set.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

COMPONENTS = 128
MAX_PIXELS = 10**7
FOLDS, REPEATS = 5, 3
INVERSE_REGULARISATION = 30.0  # chosen by cross-validation on Training from 1, 3, 10, 30, 100

VISITS = Path(__file__).with_name("shop_visits.txt")

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def read_visits(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Return the number of each photo's visit. A visit belongs to one category.

    Raises:
        SystemExit: A photo belongs to no visit.
    """
    lines = (line.split() for line in VISITS.read_text().splitlines() if not line.startswith("#"))
    visits = {f"{category}_{number}": i for i, (category, *numbers) in enumerate(lines) for number in numbers}
    unknown = [path.name for path in paths if path.stem not in visits]
    if unknown:
        raise SystemExit(f"{len(unknown)} photos, the first is {unknown[0]}, have no visit in {VISITS}; add them.")
    return np.array([visits[path.stem] for path in paths], np.int64)


def split_visits(categories: NDArray[np.str_], visits: NDArray[np.int64]) -> Iterator[Split]:
    """Yield splits in which no visit is on both sides and categories are stratified as far as possible."""
    for seed in range(REPEATS):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        yield from folds.split(categories, categories, visits)
