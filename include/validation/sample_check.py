"""Fetch a sample of the images again, extract their features and compare them with the stored rows.

This is the only check that reads images. It finds rows whose vectors were swapped, which no other check can find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from obstore.exceptions import BaseError

from fruits_features.extraction.extract import ImageFeatures
from fruits_features.extraction.families.onnx import DEADLINE_S as MODEL_DEADLINE_S
from fruits_features.extraction.families.onnx import ModelError, try_out
from fruits_features.extraction.subprocess_pool import Failure, SubprocessPool
from fruits_features.imaging.limits import DEADLINE_S, opencv_environment
from fruits_features.io.uri import read
from include.validation.checks import Check, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fruits_features.projection import Projection
    from include.run_files import RunFiles

TOLERANCE = 1e-4
"""Largest difference of a feature or component, relative to the row's largest value if that is above 1. Processors
round differently."""

CHECK_NAME = "sample: images extracted again equal their rows"
"""Stored in `run.json`."""

Fetch = Callable[[str, str], bytes | None]
"""Function that fetches an object by key and ETag. Returns `None` if the object was deleted or replaced since, or if S3
refuses it."""


def check(sample: pa.Table, projection: Projection, files: RunFiles, fetch: Fetch, max_pixels: int) -> Iterator[Check]:
    """Extract the features of the sampled images again and yield the check of their rows.

    The model is tried out, and images are decoded, in child processes with a deadline. An image may have been made to
    crash or to block a decoder.

    Args:
        sample: Rows with `path`, `features` and `pca`.
        projection: Projection of the run.
        files: Tables of the run. The inventory is read.
        fetch: Function that fetches the images.
        max_pixels: Limit of the run; no image in `features/` has more pixels.
    """
    with TemporaryDirectory(prefix="fruits-features-") as folder:
        try:
            local = _with_local_model(projection, Path(folder, "model.onnx"))
        except (ModelError, BaseError) as error:
            yield Check(CHECK_NAME, passed=False, saw=str(error), wanted="the model", severity=Severity.WARNING)
            return
        yield _compare(sample, local, files, fetch, max_pixels)


def _with_local_model(projection: Projection, path: Path) -> Projection:
    """Return the projection with a copy of its model, if it has one, that has been tried out."""
    if projection.model is None:
        return projection
    model = projection.model.fetch(read, path)
    try_out(model)
    return replace(projection, model=model)


def _compare(sample: pa.Table, projection: Projection, files: RunFiles, fetch: Fetch, max_pixels: int) -> Check:
    """Return the check of the rows. Arguments are those of `check`."""
    different = checked = failed = 0
    extract = partial(projection.extract, max_pixels=max_pixels)
    deadline_s = MODEL_DEADLINE_S if projection.model else DEADLINE_S
    with SubprocessPool(extract, deadline_s, opencv_environment(max_pixels)) as pool:
        for key, etag, features, pca in _rows(sample, files):
            data = fetch(key, etag)
            if data is None:
                continue
            (outcome,) = pool.map([data], [f"s3://{files.bucket}/{key}"])
            if isinstance(outcome, Failure):
                failed += 1
                continue
            checked += 1
            if not isinstance(outcome, ImageFeatures) or not _close(outcome.features, features, projection, pca):
                different += 1
    if not checked and not failed:
        return Check.not_checked(
            CHECK_NAME, f"none of {sample.num_rows} images can be fetched as the inventory lists it"
        )
    saw = f"{different} of {checked} images differ" + (f"; {failed} crashed or took too long" if failed else "")
    return Check(CHECK_NAME, different == 0 and failed <= checked, saw, "none")


def _rows(sample: pa.Table, files: RunFiles) -> Iterator[tuple[str, str, object, object]]:
    """Yield key, ETag, features and components of each sampled row."""
    keys = [path.removeprefix(f"s3://{files.bucket}/") for path in sample["path"].to_pylist()]
    etags: dict[str, str] = {}
    for batch in files.inventory.search("key", keys, ["key", "etag"]):
        found = batch.filter(pc.is_in(batch["key"], pa.array(keys, pa.string())))
        etags |= dict(zip(found["key"].to_pylist(), found["etag"].to_pylist(), strict=True))
    for key, features, pca in zip(keys, sample["features"], sample["pca"], strict=True):
        if key in etags:
            yield key, etags[key], features.values.to_numpy(), pca.values.to_numpy()


def _close(features: object, stored: object, projection: Projection, pca: object) -> bool:
    extracted = np.asarray(features, np.float32)
    pairs = ((extracted, stored), (projection.project(extracted[np.newaxis])[0], pca))
    return all(
        np.allclose(new, np.asarray(old), atol=TOLERANCE * max(1.0, float(np.abs(new).max()))) for new, old in pairs
    )
