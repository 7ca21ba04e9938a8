"""What operators are rendered with: parameters win over settings, and a published run is not written again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAMS = {
    "bucket": None,
    "image_prefix": None,
    "features": ["orb", "color"],
    "onnx_model": None,
    "k": None,
    "explained_variance": 0.9,
    "refit": "auto",
    "include_pixels": False,
    "max_quarantine_share": 0.05,
}
XCOMS = {
    "take_inventory": {"name": "r", "bucket": "fruits", "uri": "s3://fruits/features/runs/r"},
    "upload_application": {
        "application": "s3://a.zip",
        "launcher": "s3://l.py",
        "bootstrap": "s3://b.sh",
        "wheelhouse": "s3://w.txt",
    },
}


def _context(**params: object) -> Any:  # noqa: ANN401
    return {"params": PARAMS | params, "ti": SimpleNamespace(xcom_pull=lambda task_ids: XCOMS[task_ids])}


def test_bucket_and_prefix_are_the_deployments_unless_the_run_says_otherwise() -> None:
    assert (run_context.bucket(_context()), run_context.image_prefix(_context())) == ("fruits", "images/")
    assert run_context.bucket(_context(bucket="orchard")) == "orchard"
    assert run_context.image_prefix(_context(image_prefix="")) == ""


@pytest.mark.usefixtures("aws_environment")
def test_number_of_components_wins_over_explained_variance() -> None:
    chosen = run_context.arguments_of(_context(k=3))

    assert (chosen.k, chosen.explained_variance) == (3, None)
    assert run_context.arguments_of(_context()).explained_variance == 0.9


@pytest.fixture
def _small_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FRUITS_MAX_IMAGE_BYTES", "1000")
    monkeypatch.setenv("FRUITS_MAX_IMAGE_PIXELS", "2000")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.usefixtures("aws_environment", "_small_images")
def test_images_may_be_as_large_as_the_deployment_says() -> None:
    chosen = run_context.arguments_of(_context())

    assert (chosen.max_image_bytes, chosen.max_image_pixels) == (1000, 2000)


@pytest.mark.usefixtures("aws_environment")
def test_described_images_are_remembered_in_the_runs_own_bucket() -> None:
    assert run_context.arguments_of(_context()).store == "s3://fruits/features/described"


@pytest.mark.usefixtures("aws_environment")
def test_published_projection_is_named_so_that_it_can_be_kept(local_aws: Any) -> None:  # noqa: ANN401
    assert run_context.arguments_of(_context()).published is None
    s3, key = local_aws.s3(), "features/latest.json"
    s3.put_object(Bucket="fruits", Key=key, Body=b'{"paths": {"projection": "s3://fruits/p.npz"}}')
    try:
        chosen = run_context.arguments_of(_context(refit="never"))
        assert (chosen.refit, chosen.published) == ("never", "s3://fruits/p.npz")
    finally:
        s3.delete_object(Bucket="fruits", Key=key)


@pytest.mark.usefixtures("aws_environment")
def test_model_goes_with_the_family_that_needs_it() -> None:
    chosen = run_context.arguments_of(_context(features=["orb", "onnx"], onnx_model="s3://models/net.onnx"))

    assert (chosen.features, chosen.onnx_model) == (("orb", "onnx"), "s3://models/net.onnx")


@pytest.mark.usefixtures("aws_environment")
def test_published_run_is_not_written_again(local_aws: Any) -> None:  # noqa: ANN401
    s3, key = local_aws.s3(), "features/runs/r/run.json"
    s3.put_object(Bucket="fruits", Key=key, Body=b"{}")
    try:
        with pytest.raises(AirflowFailException, match="Run r is published and stays as it is: clear the DAG run from"):
            run_context.steps(_context())
    finally:
        s3.delete_object(Bucket="fruits", Key=key)
