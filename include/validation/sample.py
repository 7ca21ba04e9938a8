"""A sample of the images, fetched again from S3 and described again: are the stored rows theirs?

The only look at the images themselves. It catches what no figure of the tables can show: rows that have each other's
vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from obstore.exceptions import BaseError

from fruits_features.extraction.extract import ImageFeatures
from fruits_features.extraction.families.onnx import ModelError
from include.validation.checks import Check, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fruits_features.projection import Projection
    from include.run_files import RunFiles

MAX_PIXELS = 10**9
"""The run's own limit was kept when the image was described; one that is in `features/` is sound."""
TOLERANCE = 1e-4
"""Of a feature and of a component, or of the row's largest where that is above 1: other processors round otherwise."""

_QUESTION = "sample: images described again differ from their rows"

Fetch = Callable[[str, str], bytes | None]
"""Gives an object by key and ETag; `None` when it is gone or was replaced since the inventory was taken."""


def check(sample: pl.DataFrame, projection: Projection, files: RunFiles, fetch: Fetch) -> Iterator[Check]:
    """Describe the sampled images again.

    Args:
        sample: rows with `path`, `features` and `pca`.
        projection: the run's.
        files: the run's tables, of which the inventory is read.
        fetch: gets the images.
    """
    try:
        if projection.model:
            projection.model.open()
    except (ModelError, BaseError) as error:
        yield Check(_QUESTION, passed=False, saw=str(error), wanted="the model", severity=Severity.WARNING)
        return
    keys = sample.with_columns(key=pl.col("path").str.strip_prefix(f"s3://{files.bucket}/"))
    etags = pl.concat(
        [batch.filter(pl.col("key").is_in(keys["key"].implode())) for batch in files.inventory.batches(["key", "etag"])]
    )
    other = gone = 0
    for key, etag, features, pca in keys.join(etags, on="key").select("key", "etag", "features", "pca").iter_rows():
        data = fetch(key, etag)
        outcome = None if data is None else projection.extract(data, MAX_PIXELS)
        if data is None:
            gone += 1
        elif not isinstance(outcome, ImageFeatures) or not _close(outcome.features, features, projection, pca):
            other += 1
    checked = sample.height - gone
    yield Check(_QUESTION, other == 0, f"{other} of {checked} images", "none")


def _close(features: object, stored: object, projection: Projection, pca: object) -> bool:
    again = np.asarray(features, np.float32)
    pairs = ((again, stored), (projection.project(again[np.newaxis])[0], pca))
    return all(
        np.allclose(new, np.asarray(old), atol=TOLERANCE * max(1.0, float(np.abs(new).max()))) for new, old in pairs
    )
