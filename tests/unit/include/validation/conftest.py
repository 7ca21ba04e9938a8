"""Runs to validate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.validation_runs import Run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("sound"))


@pytest.fixture(params=["on the worker", "on a cluster"])
def run(sound: Run, tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """A run to change. All tests are run for both places where rows are read."""
    run = sound.copy(tmp_path)
    run.on_cluster = request.param == "on a cluster"
    return run
