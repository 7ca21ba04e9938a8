"""Fetch a sample of the images again, extract their features and compare them with the stored rows.

This is the only check that reads images. It finds rows whose vectors were swapped, which no other check can find.
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
"""Limit of pixels in this check. The job has already applied the limit of the run to images in `features/`."""
TOLERANCE = 1e-4
"""Largest difference of a feature or component, relative to the row's largest value if that is above 1. Processors
round differently."""

_CHECK_NAME = "sample: images described again differ from their rows"
"""Stored in `run.json`."""

Fetch = Callable[[str, str], bytes | None]
"""Function that fetches an object by key and ETag. Returns `None` if the object was deleted or replaced since."""


def check(sample: pl.DataFrame, projection: Projection, files: RunFiles, fetch: Fetch) -> Iterator[Check]:
    """Extract the features of the sampled images again and yield the check of their rows.

    Args:
        sample: Rows with `path`, `features` and `pca`.
        projection: Projection of the run.
        files: Tables of the run. The inventory is read.
        fetch: Function that fetches the images.
    """
    try:
        if projection.model:
            projection.model.open()
    except (ModelError, BaseError) as error:
        yield Check(_CHECK_NAME, passed=False, saw=str(error), wanted="the model", severity=Severity.WARNING)
        return
    keys = sample.with_columns(key=pl.col("path").str.strip_prefix(f"s3://{files.bucket}/"))
    etags = pl.concat(
        [batch.filter(pl.col("key").is_in(keys["key"].implode())) for batch in files.inventory.batches(["key", "etag"])]
    )
    different = gone = 0
    for key, etag, features, pca in keys.join(etags, on="key").select("key", "etag", "features", "pca").iter_rows():
        data = fetch(key, etag)
        outcome = None if data is None else projection.extract(data, MAX_PIXELS)
        if data is None:
            gone += 1
        elif not isinstance(outcome, ImageFeatures) or not _close(outcome.features, features, projection, pca):
            different += 1
    checked = sample.height - gone
    yield Check(_CHECK_NAME, different == 0, f"{different} of {checked} images", "none")


def _close(features: object, stored: object, projection: Projection, pca: object) -> bool:
    extracted = np.asarray(features, np.float32)
    pairs = ((extracted, stored), (projection.project(extracted[np.newaxis])[0], pca))
    return all(
        np.allclose(new, np.asarray(old), atol=TOLERANCE * max(1.0, float(np.abs(new).max()))) for new, old in pairs
    )
