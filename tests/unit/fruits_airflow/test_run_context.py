"""Template fields: parameters take precedence over settings, and a published run is not written again."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import run_context
from fruits_airflow.tasks import publish
from fruits_airflow.tasks.featurize_on_worker import FeaturizeOnWorkerOperator
from include.artifacts import shipped_model
from include.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARAMS = {
    "bucket": None,
    "dataset": "default",
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
    "take_inventory": {
        "name": "r",
        "bucket": "fruits",
        "region": "eu-west-1",
        "uri": "s3://fruits/features/runs/r",
    },
    "upload_application": {
        "application": "s3://a.zip",
        "launcher": "s3://l.py",
        "bootstrap": "s3://b.sh",
        "wheelhouse": "s3://w.txt",
    },
}


def _context(**params: object) -> Any:  # noqa: ANN401
    return {"params": PARAMS | params, "ti": SimpleNamespace(xcom_pull=lambda task_ids: XCOMS[task_ids])}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Function that sets variables of the deployment."""

    def set_variables(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    yield set_variables
    settings.cache_clear()


@pytest.mark.parametrize(
    ("task_id", "value"),
    [
        ("take_inventory", run_context.run_of),
        ("upload_application", run_context.artifacts_of),
        ("plan_cluster", lambda context: run_context.job_flow(context | {"task": Mock()})),
        ("plan_cluster", FeaturizeOnWorkerOperator(task_id="featurize_on_worker").execute),
        ("find_changes", None),
        ("validate_parquet", None),
    ],
)
@pytest.mark.usefixtures("aws_environment")
def test_task_that_was_marked_as_successful_by_hand_is_named(
    task_id: str, value: Callable[[Any], object] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {**XCOMS, "plan_cluster": {}, "find_changes": {}, "validate_parquet": {}, task_id: None}
    ti = SimpleNamespace(xcom_pull=lambda task_ids: results[task_ids])
    context = {"params": PARAMS, "ti": ti, "dag_run": Mock()}
    monkeypatch.setattr(publish, "get_current_context", lambda: context)
    monkeypatch.setattr(publish.RunFolderLink, "to", Mock())

    with pytest.raises(AirflowFailException, match=f"^Task `{task_id}` has no result, .* Clear it with the tasks"):
        value(context) if value else publish.publish.function()


def test_bucket_and_prefix_default_to_the_deployments(variables: Callable[..., None]) -> None:
    assert (run_context.bucket(_context()), run_context.image_prefix(_context())) == ("fruits", "images/")
    assert run_context.bucket(_context(bucket="orchard")) == "orchard"
    assert run_context.image_prefix(_context(image_prefix="")) == "images/"
    assert run_context.image_prefix(_context(image_prefix="photos/")) == "photos/"
    variables(FRUITS_IMAGE_PREFIX="")
    assert run_context.image_prefix(_context()) == ""


@pytest.mark.usefixtures("aws_environment")
def test_number_of_components_takes_precedence_over_explained_variance() -> None:
    arguments = run_context.arguments_of(_context(k=3))

    assert (arguments.k, arguments.explained_variance) == (3, None)
    assert run_context.arguments_of(_context()).explained_variance == 0.9


@pytest.mark.usefixtures("aws_environment")
def test_image_limits_come_from_the_deployment(variables: Callable[..., None]) -> None:
    variables(FRUITS_MAX_IMAGE_BYTES="1000", FRUITS_MAX_IMAGE_PIXELS="2000")

    arguments = run_context.arguments_of(_context())

    assert (arguments.max_image_bytes, arguments.max_image_pixels) == (1000, 2000)


@pytest.mark.usefixtures("aws_environment")
def test_feature_cache_is_in_the_runs_bucket() -> None:
    assert run_context.arguments_of(_context()).store == "s3://fruits/features/described"


@pytest.mark.usefixtures("aws_environment")
def test_cache_and_published_projection_are_those_of_the_data_set(
    local_aws: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3, key = local_aws.s3(), "features/datasets/citrus/latest.json"
    paths = {"run": "s3://fruits/run.json", "projection": "s3://fruits/citrus.npz"}
    pointer = {"run": "r0", "published_at": "2026-11-22T08:00:00+00:00", "paths": paths}
    s3.put_object(Bucket="fruits", Key=key, Body=json.dumps(pointer).encode())
    run = XCOMS["take_inventory"] | {"dataset": "citrus", "uri": "s3://fruits/features/datasets/citrus/runs/r"}
    monkeypatch.setitem(XCOMS, "take_inventory", run)
    try:
        arguments = run_context.arguments_of(_context())
        assert arguments.store == "s3://fruits/features/datasets/citrus/described"
        assert (arguments.published, arguments.output) == ("s3://fruits/citrus.npz", run["uri"])
        (second,) = run_context.validation_steps(_context())
        assert "--published-projection=s3://fruits/citrus.npz" in second["HadoopJarStep"]["Args"]
    finally:
        s3.delete_object(Bucket="fruits", Key=key)


@pytest.mark.usefixtures("aws_environment")
def test_published_projection_is_an_argument_so_that_it_can_be_kept(local_aws: Any) -> None:  # noqa: ANN401
    assert run_context.arguments_of(_context()).published is None
    s3, key = local_aws.s3(), "features/latest.json"
    pointer = {"run": "r0", "published_at": "2026-11-22T08:00:00+00:00"}
    paths = {"run": "s3://fruits/run.json", "projection": "s3://fruits/p.npz"}
    s3.put_object(Bucket="fruits", Key=key, Body=json.dumps({**pointer, "paths": paths}).encode())
    try:
        arguments = run_context.arguments_of(_context(refit="never"))
        assert (arguments.refit, arguments.published) == ("never", "s3://fruits/p.npz")
    finally:
        s3.delete_object(Bucket="fruits", Key=key)


@pytest.mark.usefixtures("aws_environment")
def test_model_is_an_argument_when_its_family_is_requested() -> None:
    arguments = run_context.arguments_of(_context(features=["orb", "onnx"], onnx_model="s3://models/net.onnx"))

    assert (arguments.features, arguments.onnx_model) == (("orb", "onnx"), "s3://models/net.onnx")
    assert run_context.arguments_of(_context()).onnx_model is None


@pytest.mark.usefixtures("aws_environment")
def test_network_that_ships_is_the_model_of_a_run_that_names_none() -> None:
    arguments = run_context.arguments_of(_context(features=["onnx"]))

    assert arguments.onnx_model == f"s3://fruits/{shipped_model.KEY}"


@pytest.mark.usefixtures("aws_environment")
def test_contradictory_parameters_fail_without_a_retry() -> None:
    with pytest.raises(AirflowFailException, match="the families orb,color have 688 features; give a k from 1 to 688"):
        run_context.steps(_context(k=700))


@pytest.mark.parametrize("render", [run_context.job_flow, run_context.steps])
@pytest.mark.usefixtures("aws_environment")
def test_published_run_is_not_written_again_and_gets_no_cluster(
    local_aws: Any,  # noqa: ANN401
    render: Callable[[Any], object],
) -> None:
    s3, key = local_aws.s3(), "features/runs/r/run.json"
    s3.put_object(Bucket="fruits", Key=key, Body=b"{}")
    try:
        with pytest.raises(
            AirflowFailException,
            match=r"Run r is already published and cannot be written again\. Clear the DAG run from `take_inv",
        ):
            render(_context())
    finally:
        s3.delete_object(Bucket="fruits", Key=key)


@pytest.mark.usefixtures("aws_environment")
def test_folder_that_another_run_has_claimed_since_is_not_written(local_aws: Any) -> None:  # noqa: ANN401
    s3, key = local_aws.s3(), "features/runs/r/claim.json"
    holder = {"deployment": "orchard", "dag_id": "daily", "run_id": "manual__1"}
    s3.put_object(Bucket="fruits", Key=key, Body=json.dumps(holder).encode())
    context = _context() | {"dag_run": SimpleNamespace(dag_id="daily", run_id="manual__1")}
    try:
        with pytest.raises(AirflowFailException, match="belongs to run manual__1 of DAG daily in deployment orchard"):
            run_context.steps(context)
        s3.put_object(Bucket="fruits", Key=key, Body=json.dumps(holder | {"deployment": "fruits"}).encode())
        assert run_context.steps(context)
    finally:
        s3.delete_object(Bucket="fruits", Key=key)
