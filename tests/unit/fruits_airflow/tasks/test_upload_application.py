"""Task `upload_application`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.tasks import upload_application
from include import settings
from include.artifacts import bundle

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize(("features", "with_model"), [(["orb", "color"], False), (["orb", "onnx"], True)])
def test_artifacts_match_the_requested_features(
    features: list[str], local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch, *, with_model: bool
) -> None:
    context = {"params": {"bucket": "fruits", "features": features}}
    monkeypatch.setattr(upload_application, "get_current_context", lambda: context)
    name = bundle.wheelhouse_name(bundle.application_folder(), onnx=with_model)
    local_aws.s3().put_object(Bucket="fruits", Key=f"artifacts/{name}", Body=b"")

    uris = upload_application.upload_application.function()

    key = uris["bootstrap"].removeprefix("s3://fruits/")
    script = local_aws.s3().get_object(Bucket="fruits", Key=key)["Body"].read().decode()
    assert "obstore==" in script
    assert ("onnxruntime==" in script) == with_model
    assert uris["wheelhouse"] == f"s3://fruits/artifacts/{name}"


@pytest.mark.usefixtures("aws_environment")
def test_missing_wheelhouse_fails_with_the_command_to_deploy(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        upload_application, "get_current_context", lambda: {"params": {"bucket": bucket, "features": ["orb"]}}
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
