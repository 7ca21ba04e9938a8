"""Fixtures of the tests that run whole DAGs against the local AWS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.airflow_database import ensure_database
from include.sample_images import generate, make_plan
from tests.e2e.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.local_aws.local import LocalAws


@pytest.fixture(scope="session")
def airflow_environment(local_aws: LocalAws) -> Mapping[str, str]:
    environment = os.environ | local_aws.environment
    ensure_database(Path(environment["AIRFLOW_HOME"]), environment)
    return environment


@pytest.fixture(scope="module")
def pipeline(local_aws: LocalAws, airflow_environment: Mapping[str, str], request: pytest.FixtureRequest) -> Pipeline:
    """A bucket for each test module."""
    bucket = local_aws.create_bucket(request.module.__name__.rpartition(".")[2].replace("_", "-"))
    return Pipeline(local_aws, local_aws.s3(), bucket, airflow_environment)


@pytest.fixture(scope="session")
def fruit_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated images: 48 in two categories, both splits."""
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 48), seed=0, jobs=1, progress=False)
    return folder
