"""Which photographs were taken on one visit to a shop: groups for a cross-validation that asks for other shops.

Photographs of one visit show the same crates under the same lamps. A fold that holds some of them while others are
learnt from measures memory, not recognition. `visits.txt` tells the visits of Grocery Store's Training photographs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VISITS = Path(__file__).with_name("shop_visits.txt")


def read_visits(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Number the visit of every photograph; visits never cross categories.

    Raises:
        SystemExit: when a photograph belongs to no visit.
    """
    lines = (line.split() for line in VISITS.read_text().splitlines() if not line.startswith("#"))
    visits = {f"{category}_{number}": i for i, (category, *numbers) in enumerate(lines) for number in numbers}
    strangers = [path.name for path in paths if path.stem not in visits]
    if strangers:
        raise SystemExit(f"{len(strangers)} photographs, {strangers[0]} first, are of no visit in {VISITS}: add them.")
    return np.array([visits[path.stem] for path in paths], np.int64)
