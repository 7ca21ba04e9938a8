"""What tasks leave in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fruits_airflow import tasks

if TYPE_CHECKING:
    from include.local_aws.local import LocalAws


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize(("features", "with_model"), [(["orb", "color"], False), (["orb", "onnx"], True)])
def test_application_comes_with_what_its_features_need(
    features: list[str], local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch, *, with_model: bool
) -> None:
    context = {"params": {"bucket": "fruits", "features": features}}
    monkeypatch.setattr(tasks, "get_current_context", lambda: context)

    uris = tasks.upload_application.function()

    key = uris["bootstrap"].removeprefix("s3://fruits/")
    script = local_aws.s3().get_object(Bucket="fruits", Key=key)["Body"].read().decode()
    assert "obstore==" in script
    assert ("onnxruntime==" in script) == with_model
