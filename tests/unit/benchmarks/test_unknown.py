"""The measurement of unknown categories, on clusters of random features."""

from __future__ import annotations

import numpy as np

from benchmarks.recognition import unknown
from benchmarks.recognition.shop_visits import split_visits

CATEGORIES, VISITS, PHOTOGRAPHS, NUMBERS = 9, 5, 4, 30
NEAREST = unknown.SCORES.index("cosine of the nearest")


def test_unknown_photographs_have_smaller_scores_than_known_ones_of_other_visits() -> None:
    random = np.random.default_rng(0)
    code = np.repeat(np.arange(CATEGORIES), VISITS * PHOTOGRAPHS)
    centres = 3 * random.standard_normal((CATEGORIES, NUMBERS))
    rows = (centres[code] + random.standard_normal((len(code), NUMBERS))).astype(np.float32)
    visits = np.repeat(np.arange(CATEGORIES * VISITS), PHOTOGRAPHS)
    (first, *_) = split_visits(code.astype(str), visits)
    noise = random.standard_normal((7, NUMBERS)).astype(np.float32)

    found = unknown.outcomes(rows, code.astype(str), [first], ["texture"], {"noise": noise})

    assert len(found) == unknown.PARTS
    assert sum(outcome.others[unknown.UNKNOWN].shape[1] for outcome in found) == len(rows), "not left out once each"
    for outcome in found:
        assert outcome.right.all()
        assert outcome.known.shape == (len(unknown.SCORES), len(first[1]) * 2 // 3)
        assert outcome.others["noise"].shape == (len(unknown.SCORES), len(noise))
        assert outcome.known[NEAREST].max() < 1, "a query is a training photograph"
        assert (np.median(outcome.known, axis=1) > np.median(outcome.others[unknown.UNKNOWN], axis=1)).all()
