"""The child process that reads photos."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fruits_features.client.serve.recognition import Worker
from fruits_features.contract.families import MODEL_FAMILY
from fruits_features.contract.rejections import Rejected
from fruits_features.extraction.families.onnx import ModelError, Weights
from tests.support.deadly_decoder.sitecustomize import ENDLESS_MARK, MARK
from tests.support.small_runs import photograph

if TYPE_CHECKING:
    from fruits_features.projection import Projection

PHOTO = photograph(0)
MAX_PIXELS = 1_000_000


def test_photo_has_the_components_of_the_projection(projection: Projection) -> None:
    components = Worker(projection, MAX_PIXELS, 30).embed(PHOTO)

    assert not isinstance(components, Rejected)
    np.testing.assert_array_equal(components, projection.embed(PHOTO))


def test_photo_that_crashes_or_blocks_its_decoder_is_rejected_and_the_next_one_recognised(
    projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4] / "support" / "deadly_decoder"))
    worker = Worker(projection, MAX_PIXELS, 1.0)

    outcomes = [worker.embed(photo) for photo in (PHOTO + MARK, PHOTO + ENDLESS_MARK)]

    assert [(one.reason, one.detail) for one in outcomes if isinstance(one, Rejected)] == [
        ("decoder_crash", "The photo crashes its decoder."),
        ("decoder_timeout", "The photo was not recognised within 1 seconds."),
    ]
    assert worker.shrink(PHOTO + MARK) is None
    assert worker.shrink(PHOTO)
    assert not isinstance(worker.embed(PHOTO), Rejected)


def test_child_ends_with_its_worker(projection: Projection) -> None:
    before = set(multiprocessing.active_children())
    worker = Worker(projection, MAX_PIXELS, 30)
    assert len(set(multiprocessing.active_children()) - before) == 1

    del worker

    assert set(multiprocessing.active_children()) <= before


def test_missing_model_is_named_when_the_worker_starts_and_its_child_ends(
    projection: Projection, tmp_path: Path
) -> None:
    before = set(multiprocessing.active_children())
    missing = str(tmp_path / "missing.onnx")
    with_model = replace(projection, families=(*projection.families, MODEL_FAMILY), model=Weights(missing, "", 4))

    with pytest.raises(ModelError, match=r"There is no ONNX model .*missing.onnx; upload it") as failed:
        Worker(with_model, MAX_PIXELS, 30)

    assert set(multiprocessing.active_children()) <= before, failed  # also while the error is kept
