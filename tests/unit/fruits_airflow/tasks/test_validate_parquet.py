"""Task `validate_parquet`."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowFailException

from fruits_airflow.tasks import validate_parquet
from fruits_features.contract import sealed
from fruits_features.contract.layout import DatasetLayout, split
from include.validation.cluster_figures import AGAIN
from include.validation.recogniser_drop import CHECK_NAME
from tests.support.chosen_recognisers import recogniser
from tests.support.validation_runs import Run, measured

if TYPE_CHECKING:
    from pathlib import Path

    from include.dev.local_aws.local import LocalAws


PARAMS = ("features", "onnx_model", "k", "explained_variance", "refit", "include_pixels", "max_quarantine_share")


@pytest.mark.usefixtures("aws_environment")
def test_failed_validation_fails_the_task_with_a_table_and_keeps_the_files(
    local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, s3 = Run(tmp_path), local_aws.s3()
    run.parts()[-1].unlink()
    _upload(run, s3)
    monkeypatch.setattr(validate_parquet, "get_current_context", lambda: _context(run))
    before = _objects(s3)

    with caplog.at_level(logging.INFO), pytest.raises(AirflowFailException) as failure:
        validate_parquet.validate_parquet.function()

    assert "Run r is not published" in str(failure.value)
    assert "features + quarantine = inventory" in str(failure.value)
    assert "FAILED   features + quarantine = inventory" in caplog.messages[-1]
    assert _objects(s3) == before


@pytest.mark.usefixtures("aws_environment")
def test_images_with_odd_keys_are_sampled(local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, suffix="?size=2#1.png")
    run.arguments = run.requested = replace(run.arguments, region="eu-west-1", store="s3://fruits/features/described")
    run.write()
    _upload(run, local_aws.s3())
    for key, image in run.images.items():
        local_aws.s3().put_object(Bucket="fruits", Key=key, Body=image)
    monkeypatch.setattr(validate_parquet, "get_current_context", lambda: _context(run))

    result = validate_parquet.validate_parquet.function()
    checks = {check["name"]: check for check in result["checks"]}

    assert checks["sample: images extracted again equal their rows"]["saw"] == "0 of 24 images differ"
    assert checks["files: arguments"]["passed"]
    assert checks["recogniser: equals a fit on features/"]["passed"]
    assert sorted(result["recogniser"]["splits"]) == ["Test", "Training"]


@pytest.mark.usefixtures("aws_environment")
def test_figures_of_the_second_step_are_judged(
    local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, s3 = Run(tmp_path), local_aws.s3()
    run.arguments = run.requested = replace(run.arguments, region="eu-west-1", store="s3://fruits/features/described")
    run.write()
    _upload(run, s3)
    monkeypatch.setattr(validate_parquet, "get_current_context", lambda: _context(run))

    validate_parquet.validate_parquet.function()
    (warning,) = [text for text in caplog.messages if "does not exist" in text]
    _, key = split(run.layout.validation_figures)
    s3.put_object(Bucket="fruits", Key=key, Body=measured(run))
    checks = {check["name"]: check for check in validate_parquet.validate_parquet.function()["checks"]}
    run.rows[3]["width"] = 0
    run.write()
    _upload(run, s3)
    with pytest.raises(AirflowFailException) as failure:
        validate_parquet.validate_parquet.function()

    assert warning == f"{run.layout.validation_figures} does not exist. This worker reads all rows itself."
    assert checks[AGAIN]["passed"]
    assert f"{AGAIN}: saw 1 of 2 differ" in str(failure.value)
    s3.delete_object(Bucket="fruits", Key=key)


@pytest.mark.usefixtures("aws_environment")
def test_drop_of_the_recogniser_fails_the_task_if_the_parameter_says_so(
    local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, s3 = Run(tmp_path), local_aws.s3()
    run.arguments = run.requested = replace(run.arguments, region="eu-west-1", store="s3://fruits/features/described")
    run.write()
    _upload(run, s3)
    _publish(s3, recogniser({"Apple": (1, 0), "Lime": (0, 1)}).to_bytes(), right=10_000)

    monkeypatch.setattr(validate_parquet, "get_current_context", lambda: _context(run))
    (warned,) = _drop_checks(validate_parquet.validate_parquet.function())
    monkeypatch.setattr(validate_parquet, "get_current_context", lambda: _context(run, recogniser_drop="error"))
    with pytest.raises(AirflowFailException) as failure:
        validate_parquet.validate_parquet.function()

    assert (warned["passed"], warned["severity"]) == (False, "warning")
    assert f" checks failed: {CHECK_NAME}: saw {warned['saw']}, wanted no drop" in str(failure.value)


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize("stored", [b"no recogniser", None])
def test_damaged_or_missing_published_recogniser_is_named_and_not_compared(
    local_aws: LocalAws,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stored: bytes | None,
) -> None:
    run = Run(tmp_path)
    run.arguments = run.requested = replace(run.arguments, region="eu-west-1", store="s3://fruits/features/described")
    run.write()
    _upload(run, local_aws.s3())
    _publish(local_aws.s3(), stored, right=10_000)
    monkeypatch.setattr(validate_parquet, "get_current_context", lambda: _context(run))

    (check,) = _drop_checks(validate_parquet.validate_parquet.function())

    assert (check["severity"], check["saw"]) == (
        "not checked",
        "the published run has no recogniser that this version can read",
    )
    assert any(f"{PUBLISHED}/recogniser.npz cannot be read (" in message for message in caplog.messages)


PUBLISHED = "s3://fruits/features/runs/before"


def _publish(s3: Any, stored: bytes | None, right: int) -> None:  # noqa: ANN401
    """Publish a run with 10,000 Test images, whose projection is gone."""
    record = {
        "run": "before",
        "dag": {"dag_id": "fruits_features"},
        "counts": {"features": 24, "quarantine": 1},
        "categories": {"Apple": 12, "Lime": 12},
        "projection": {"components": 2, "explained_variance": 0.9},
        "recogniser": {"splits": {"Test": {"images": 10_000, "right": right}}},
    }
    paths = {"run": f"{PUBLISHED}/run.json", "recogniser": f"{PUBLISHED}/recogniser.npz"}
    pointer = {"run": "before", "published_at": "2026-03-01T00:00:00+00:00", "paths": paths}
    objects = {paths["run"]: json.dumps(record).encode(), DatasetLayout("fruits").latest: json.dumps(pointer).encode()}
    for uri, content in (objects | ({paths["recogniser"]: stored} if stored else {})).items():
        s3.put_object(Bucket="fruits", Key=split(uri)[1], Body=content)


def _drop_checks(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [check for check in result["checks"] if check["name"] == CHECK_NAME]


def _upload(run: Run, s3: Any) -> None:  # noqa: ANN401
    """Upload a run's files."""
    written = {str(file.relative_to(run.folder)): file.read_bytes() for file in run.folder.rglob("*.parquet")}
    written[run.layout.portable_projection.removeprefix("s3://")] = run.projection.to_bytes()
    assert run.recogniser
    written[run.layout.portable_recogniser.removeprefix("s3://")] = run.recogniser.to_bytes()
    written[run.layout.outcome.removeprefix("s3://")] = b'{"kept_from": null}'
    for path, content in written.items():
        s3.put_object(Bucket="fruits", Key=path.removeprefix("fruits/"), Body=content)


def _context(run: Run, recogniser_drop: str = "warning") -> dict[str, Any]:
    taken = {"name": "r", "bucket": "fruits", "region": "eu-west-1", "uri": run.layout.prefix}
    params = {name: getattr(run.arguments, name) for name in PARAMS} | {"recogniser_drop": recogniser_drop}
    return {"params": params, "task": Mock(), "ti": Mock(xcom_pull=Mock(return_value=taken))}


@pytest.mark.usefixtures("aws_environment")
def test_damaged_outcome_of_the_application_is_named(local_aws: LocalAws, bucket: str) -> None:
    layout = DatasetLayout(bucket).run("r")
    key = layout.outcome.removeprefix(f"s3://{bucket}/")
    outcome = sealed.seal({"kept_from": None})
    for content in (b"{", b"[]", json.dumps({**outcome, "kept_from": "s3://"}).encode()):
        local_aws.s3().put_object(Bucket=bucket, Key=key, Body=content)
        with pytest.raises(
            AirflowFailException, match=f"{layout.outcome} is damaged: .* Clear `featurize_and_reduce`, or without"
        ):
            validate_parquet._outcome(S3Hook(), layout)  # noqa: SLF001
    local_aws.s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(outcome).encode())

    assert validate_parquet._outcome(S3Hook(), layout) == outcome  # noqa: SLF001


@pytest.mark.parametrize("missing", ["outcome", "portable_projection"])
@pytest.mark.usefixtures("aws_environment")
def test_application_that_did_not_complete_is_named(
    local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """As when its task is marked as successful by hand while it runs. The outcome is its last file."""
    run = Run(tmp_path)
    _upload(run, local_aws.s3())
    uri = getattr(run.layout, missing)
    local_aws.s3().delete_object(Bucket="fruits", Key=split(uri)[1])
    monkeypatch.setattr(validate_parquet, "get_current_context", lambda: _context(run))

    with pytest.raises(AirflowFailException, match=f"^{uri} does not exist, so the application did not complete"):
        validate_parquet.validate_parquet.function()


def _objects(s3: Any) -> dict[str, str]:  # noqa: ANN401
    """Return the ETags of all objects of the bucket, by key."""
    return {entry["Key"]: entry["ETag"] for entry in s3.list_objects_v2(Bucket="fruits")["Contents"]}
