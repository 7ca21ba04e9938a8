"""Day after day on one bucket: what is published follows the images, and costs follow the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.sample_images import generate, make_plan
from tests.e2e.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.local_aws.local import LocalAws

PARAMS = {"k": 4}


@pytest.fixture(scope="module")
def orchard(
    local_aws: LocalAws, airflow_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    """A bucket with a published run."""
    pipeline = Pipeline(local_aws, local_aws.s3(), local_aws.create_bucket("rerun-orchard"), airflow_environment)
    folder = tmp_path_factory.mktemp("images")
    generate(folder, make_plan(["Avocado", "Banana"], 16), seed=0, jobs=1, progress=False)
    pipeline.put_folder(folder)
    run = pipeline.run("2026-05-01", **PARAMS)
    assert run.ok, run.why
    return pipeline


def test_day_without_a_change_is_skipped_without_a_cluster(orchard: Pipeline) -> None:
    latest, clusters = orchard.latest(), orchard.cluster_states()

    run = orchard.run("2026-05-02", **PARAMS)

    assert run.ok, run.why
    assert f"Nothing has changed since run {latest['run']}" in run.log
    assert orchard.latest() == latest
    assert orchard.cluster_states() == clusters
