"""A run whose parameters contradict each other is refused by its first task, in one sentence that names the way out."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from fruits_airflow import params, request
from fruits_airflow.s3.sensors import ImagesSensor
from tests.support.aws_requests import recording

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")

MODEL = "s3://models/net.onnx"


def _context(bucket: str, **changes: Any) -> Any:  # noqa: ANN401
    """Return the context of a run with these parameters in its configuration, as the form sends them."""
    defaults = {name: param.value for name, param in params.DAILY_ON_EMR["params"].items()}
    conf = {"bucket": bucket} | changes
    return {
        "params": defaults | conf,
        "dag": SimpleNamespace(params=params.DAILY_ON_EMR["params"]),
        "dag_run": SimpleNamespace(conf=conf),
    }


def _publish(
    s3: S3Client, bucket: str, components: int = 16, key: str = "features/latest.json", **changes: object
) -> None:
    pointer = changes | {
        "run": "r",
        "published_at": "2026-03-01T00:00:00+00:00",
        "paths": {"run": f"s3://{bucket}/run.json"},
        "projection": {"components": components},
    }
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(pointer).encode())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a model without onnx": (
        {"onnx_model": MODEL},
        (
            f"Parameter `onnx_model` is {MODEL}, but `features` does not contain `onnx`. "
            "Add `onnx` to `features`, or leave `onnx_model` empty."
        ),
    ),
    "too many components": (
        {"features": ["color", "texture"], "k": 463},
        (
            "Parameter `k` is 463, but the families color, texture have 462 features together. "
            "Give a `k` from 1 to 462, or leave it empty."
        ),
    ),
    "a variance beside a kept projection": (
        {"refit": "never", "explained_variance": 0.8},
        (
            "Parameter `explained_variance` is 0.8, but `refit` is `never`, which keeps the 16 components of the "
            "published projection. Set `refit` to `auto` or `always`, or leave `explained_variance` at 0.95."
        ),
    ),
    "another k beside a kept projection": (
        {"refit": "never", "k": 5},
        (
            "Parameter `k` is 5, but `refit` is `never`, which keeps the 16 components of the published projection. "
            "Set `refit` to `auto` or `always`, or leave `k` empty."
        ),
    ),
    "a misspelt name": (
        {"image_prefx": "images/"},
        (
            "The run's configuration names `image_prefx`, which is not a parameter of this DAG. "
            "Did you mean `image_prefix`?"
        ),
    ),
    "the American spelling": (
        {"recognizer_drop": "error"},
        (
            "The run's configuration names `recognizer_drop`, which is not a parameter of this DAG. "
            "Did you mean `recogniser_drop`?"
        ),
    ),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_contradiction_is_refused_before_any_wait(
    local_aws: LocalAws, bucket: str, changes: dict[str, Any], message: str
) -> None:
    _publish(local_aws.s3(), bucket, components=16)
    sensor = ImagesSensor(task_id="wait", bucket=bucket, prefix="images/", quiet_minutes="0", marker="")

    with pytest.raises(AirflowFailException) as refused:
        sensor.execute(_context(bucket, **changes))

    assert str(refused.value) == message


def test_name_that_resembles_no_parameter_is_refused_with_the_list(bucket: str) -> None:
    with pytest.raises(AirflowFailException, match=r"names `colour`.* The parameters are bucket, image_prefix, "):
        request.check(_context(bucket, colour="red"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"features": ["color"], "k": 432},
        {"features": ["onnx"], "onnx_model": MODEL, "k": 4000},
        {"features": ["orb", "onnx"]},
        {"refit": "never"},
        {"refit": "never", "k": 16},
        {"refit": "auto", "explained_variance": 0.8},
        {"refit": "always", "k": 5},
    ],
    ids=str,
)
def test_consistent_request_waits_for_images(local_aws: LocalAws, bucket: str, changes: dict[str, Any]) -> None:
    _publish(local_aws.s3(), bucket, components=16)
    sensor = ImagesSensor(
        task_id="wait", bucket=bucket, prefix="images/", wait_minutes="1", quiet_minutes="0", marker=""
    )

    with pytest.raises(TaskDeferred):
        sensor.execute(_context(bucket, **changes))


def test_first_fit_follows_the_request_though_refit_is_never(bucket: str) -> None:
    request.check(_context(bucket, refit="never", explained_variance=0.8))


OF_IMAGES = {"inventory": {"prefix": "images/", "taken_at": "2026-03-01T00:00:00+00:00"}}


def test_other_prefix_than_the_data_sets_is_refused_before_any_wait(local_aws: LocalAws, bucket: str) -> None:
    _publish(local_aws.s3(), bucket, **OF_IMAGES)
    sensor = ImagesSensor(task_id="wait", bucket=bucket, prefix="citrus/", quiet_minutes="0", marker="")

    with pytest.raises(AirflowFailException) as refused:
        sensor.execute(_context(bucket, image_prefix="citrus/"))

    assert str(refused.value) == (
        f"The image prefix is 'citrus/', but the published run r of the data set 'default' in s3://{bucket} has read "
        "'images/'. Name another data set with the parameter `dataset`, or set `replace_dataset` to replace this one."
    )


@pytest.mark.parametrize(
    "changes",
    [{}, {"image_prefix": "citrus/", "dataset": "citrus"}, {"image_prefix": "citrus/", "replace_dataset": True}],
    ids=str,
)
def test_same_prefix_another_data_set_or_a_wanted_replacement_is_accepted(
    local_aws: LocalAws, bucket: str, changes: dict[str, Any]
) -> None:
    _publish(local_aws.s3(), bucket, **OF_IMAGES)

    request.check(_context(bucket, **changes))


def test_named_data_set_keeps_its_prefix_too(local_aws: LocalAws, bucket: str) -> None:
    _publish(local_aws.s3(), bucket, key="features/datasets/citrus/latest.json", **OF_IMAGES)

    with pytest.raises(AirflowFailException, match=r"published run r of the data set 'citrus' in .* read 'images/'"):
        request.check(_context(bucket, dataset="citrus", image_prefix="citrus/"))


@pytest.mark.parametrize(("prefix", "is_refused"), [("citrus/", True), ("images/", False)])
def test_prefix_of_a_run_of_an_earlier_version_is_in_its_record(
    local_aws: LocalAws, bucket: str, prefix: str, *, is_refused: bool
) -> None:
    _publish(local_aws.s3(), bucket)
    record = {
        "run": "r",
        "dag": {"dag_id": "fruits_features"},
        "counts": {"features": 1, "quarantine": 0},
        "categories": {"Limes": 1},
        "projection": {"components": 16, "explained_variance": 0.9},
        "recipe": {"image_prefix": "images/"},
    }
    local_aws.s3().put_object(Bucket=bucket, Key="run.json", Body=json.dumps(record).encode())

    with pytest.raises(AirflowFailException, match="has read 'images/'") if is_refused else nullcontext():
        request.check(_context(bucket, image_prefix=prefix))


def test_first_run_of_a_named_data_set_warns_of_a_mistyped_name(
    local_aws: LocalAws, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("citrus", "nuts"):
        _publish(local_aws.s3(), bucket, key=f"features/datasets/{name}/latest.json")

    with recording() as requests:
        for name in ("default", "citrus", "citrsu"):
            request.check(_context(bucket, dataset=name))

    (warning,) = [entry for entry in caplog.records if entry.name == request.__name__]
    assert warning.levelname == "WARNING"
    assert warning.getMessage() == (
        f"The data set 'citrsu' of s3://{bucket} has no published run, so this run creates it. If the name is "
        "mistyped, mark this run as failed and correct `dataset`. Other data sets, the most similar first: "
        "citrus, nuts, default."
    )
    pointers = [call for call in requests if call.parameters.get("Key", "").endswith("latest.json")]
    assert len(pointers) == 3, "a check requests the pointer again"


def test_refused_access_is_left_to_the_wait_for_images() -> None:
    request.check(_context("no-such-bucket", refit="never", k=5, dataset="citrus"))
