"""What tasks leave in S3, and say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow import tasks
from include import artifacts, settings
from tests.unit.validation.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    from include.local_aws.local import LocalAws


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize(("features", "with_model"), [(["orb", "color"], False), (["orb", "onnx"], True)])
def test_application_comes_with_what_its_features_need(
    features: list[str], local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch, *, with_model: bool
) -> None:
    context = {"params": {"bucket": "fruits", "features": features}}
    monkeypatch.setattr(tasks, "get_current_context", lambda: context)
    name = artifacts.wheelhouse_name(artifacts.application_folder(), onnx=with_model)
    local_aws.s3().put_object(Bucket="fruits", Key=f"artifacts/{name}", Body=b"")

    uris = tasks.upload_application.function()

    key = uris["bootstrap"].removeprefix("s3://fruits/")
    script = local_aws.s3().get_object(Bucket="fruits", Key=key)["Body"].read().decode()
    assert "obstore==" in script
    assert ("onnxruntime==" in script) == with_model
    assert uris["wheelhouse"] == f"s3://fruits/artifacts/{name}"


@pytest.mark.usefixtures("aws_environment")
def test_application_without_its_wheelhouse_says_to_deploy(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "get_current_context", lambda: {"params": {"bucket": bucket, "features": ["orb"]}})
    monkeypatch.setattr(settings, "settings", lambda: settings.Settings(bucket=bucket))

    with pytest.raises(
        AirflowFailException, match=rf"There is no s3://{bucket}/artifacts/wheelhouse-\w+\.txt.*`make deploy`"
    ):
        tasks.upload_application.function()
    assert tasks.upload_application.function(for_emr=False)["launcher"].startswith(f"s3://{bucket}/artifacts/launch-")


@pytest.mark.usefixtures("aws_environment")
def test_run_that_fails_its_validation_fails_the_task_with_a_table_and_stays_as_it_is(
    local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, s3 = Run(tmp_path), local_aws.s3()
    run.parts()[-1].unlink()
    written = {str(file.relative_to(tmp_path)): file.read_bytes() for file in tmp_path.rglob("*.parquet")}
    written[run.layout.portable_projection.removeprefix("s3://")] = run.projection.to_bytes()
    written[run.layout.outcome.removeprefix("s3://")] = b'{"kept_from": null}'
    for path, content in written.items():
        s3.put_object(Bucket="fruits", Key=path.removeprefix("fruits/"), Body=content)
    taken = {"name": "r", "bucket": "fruits", "uri": run.layout.prefix}
    params = {"include_pixels": False, "max_quarantine_share": 0.1}
    context = {"params": params, "task": Mock(), "ti": Mock(xcom_pull=Mock(return_value=taken))}
    monkeypatch.setattr(tasks, "get_current_context", lambda: context)
    before = _objects(s3)

    with caplog.at_level(logging.INFO), pytest.raises(AirflowFailException) as failure:
        tasks.validate_parquet.function()

    assert "Run r is not published" in str(failure.value)
    assert "features + quarantine = inventory" in str(failure.value)
    assert "FAILED   features + quarantine = inventory" in caplog.messages[-1]
    assert _objects(s3) == before


def _objects(s3: Any) -> dict[str, str]:  # noqa: ANN401
    """All there is in the bucket, by key: what it is."""
    return {one["Key"]: one["ETag"] for one in s3.list_objects_v2(Bucket="fruits")["Contents"]}
