"""A failed run reports its reason in one message, publishes nothing and leaves no cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from include.artifacts import bundle
from include.settings import settings
from tests.support.airflow.pipeline import PARAMS, planted, with_credentials

if TYPE_CHECKING:
    from tests.support.airflow.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("published")


def test_failed_step_shows_its_output_and_no_credential_ends_its_cluster_and_publishes_nothing(
    pipeline: Pipeline,
) -> None:
    before = pipeline.latest()
    with_secrets = replace(pipeline, environment=with_credentials(pipeline.environment))

    run = with_secrets.run("2026-04-02", max_quarantine_share=0.01, k=8)

    assert not run.ok
    assert "Last lines of the step's stderr" in run.log
    assert "fruits_features: error:" in run.log
    assert "images were quarantined" in run.log.partition("fruits_features: error:")[2].splitlines()[0]
    assert [secret for secret in planted(pipeline.environment) if secret in run.log] == []
    assert pipeline.cluster_states()[-1][0] == "TERMINATED"
    assert pipeline.aws.active_clusters() == []
    assert pipeline.latest() == before


def test_prefix_without_images_is_named_with_a_remedy(pipeline: Pipeline) -> None:
    before = pipeline.latest()

    run = pipeline.run("2026-04-04", image_prefix="nothing/here/", replace_dataset=True, wait_minutes=0.05)

    assert not run.ok
    assert f"No image was uploaded to s3://{pipeline.bucket}/nothing/here/ within 0.05 minutes" in run.log
    assert pipeline.latest() == before


def test_missing_bucket_is_named_with_a_remedy(pipeline: Pipeline) -> None:
    run = pipeline.run("2026-04-05", bucket="no-such-bucket")

    assert not run.ok
    assert "Bucket 'no-such-bucket' does not exist. Create it, or set" in run.log
    assert pipeline.aws.active_clusters() == []


def test_run_above_the_maximum_cost_fails_before_a_cluster_is_created(pipeline: Pipeline) -> None:
    before, clusters = pipeline.latest(), pipeline.cluster_states()

    run = pipeline.run("2026-04-07", cluster_size="large", max_cost=1)

    assert not run.ok
    assert "`max_cost` allows $1.00. No cluster was created. Increase `max_cost`" in run.log
    assert pipeline.cluster_states() == clusters
    assert pipeline.latest() == before


def test_altered_bootstrap_script_is_replaced_before_a_cluster_runs_it(pipeline: Pipeline) -> None:
    bucket = settings().bucket
    (script,) = (built for built in bundle.build(bundle.application_folder()).values() if "bootstrap" in built.name)
    key = f"artifacts/{script.name}"
    pipeline.s3.put_object(Bucket=bucket, Key=key, Body=b"#!/bin/sh\nexit 7\n")

    run = pipeline.run("2026-04-06", force=True, **PARAMS)

    assert run.ok, run.error
    assert f"s3://{bucket}/{key} is replaced, because it is not what this Airflow has built" in run.log
    assert pipeline.s3.get_object(Bucket=bucket, Key=key)["Body"].read() == script.content
