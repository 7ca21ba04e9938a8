"""Groups of photos that were taken on one visit to a shop, for a cross-validation over visits.

Photos of one visit show the same crates under the same light. If a fold contains some of them and the training images
others, the recall measures memory instead of recognition. `shop_visits.txt` lists the visits of the Training photos of
the Grocery Store data set.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VISITS = Path(__file__).with_name("shop_visits.txt")


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
