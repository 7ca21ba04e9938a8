"""Recognisers fitted on the rows of a table, to compare those of runs with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fruits_features.recogniser import calibration
from fruits_features.recogniser.fit import ComponentSums
from fruits_features.recogniser.model import Recogniser
from fruits_features.recogniser.sample import NONE, TrainingImages


def fitted_on(rows: Sequence[dict[str, Any]], projection: str, split: str | None = "Training") -> Recogniser:
    """Return a recogniser fitted on the rows of one split, as one task does."""
    names = tuple(sorted({row["category"] for row in rows if row["split"] == split}))
    codes = [names.index(row["category"]) if row["split"] == split else NONE for row in rows]
    images = TrainingImages.of(len(names), np.array(codes, np.int32))
    components = np.array([row["pca"] for row in rows], np.float32)
    return calibration.fit(ComponentSums.of(components, images.code, images.sample), names, projection)


def assert_equal(saw: Recogniser, wanted: Recogniser) -> None:
    """Raise an error unless two recognisers are equal but for rounding."""
    assert (saw.categories, saw.images, saw.shrinkage) == (wanted.categories, wanted.images, wanted.shrinkage)
    assert saw.projection == wanted.projection
    assert saw.weights == pytest.approx(wanted.weights, rel=1e-9, abs=1e-9)
    assert saw.bias == pytest.approx(wanted.bias, rel=1e-9, abs=1e-9)
