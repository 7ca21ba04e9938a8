"""A run starts when its images, the quiet period and the marker are there. Else a message names what is missing."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, TaskDeferred
from structlog.testing import capture_logs

from fruits_airflow.s3.readiness import NotReady, Readiness, check_readiness
from fruits_airflow.s3.sensors import ImagesSensor
from fruits_airflow.s3.triggers import ImagesTrigger
from include.dev.local_aws.s3.fault_proxy import Fault, S3FaultProxy, first
from include.dev.local_aws.s3.server import DIR_CACHE_S
from tests.support.airflow.context import DEFAULT_CONTEXT

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def put(local_aws: LocalAws, bucket: str) -> Any:  # noqa: ANN401
    def put(key: str, age_minutes: float = 0) -> None:
        local_aws.s3().put_object(Bucket=bucket, Key=key, Body=b"image")
        then = time.time() - 60 * age_minutes
        os.utime(local_aws.s3_folder / bucket / key, (then, then))
        time.sleep(DIR_CACHE_S)  # the server may have listed the file before its time was changed

    return put


def _check(bucket: str, **conditions: Any) -> NotReady | None:  # noqa: ANN401
    return check_readiness(Readiness(bucket, "images/", **conditions), "aws_default")


def _run(bucket: str, seconds: float, **conditions: Any) -> dict[str, Any]:  # noqa: ANN401
    """Run a trigger that is rebuilt from its serialized form, as the triggerer does."""
    deadline = datetime.now(UTC).timestamp() + seconds
    options = {"deadline": deadline, "poke_interval": 0.2, "aws_conn_id": "aws_default"}
    path, arguments = ImagesTrigger(bucket=bucket, prefix="images/", **options, **conditions).serialize()
    module, _, name = path.rpartition(".")
    trigger = getattr(import_module(module), name)(**arguments)

    async def event() -> dict[str, Any]:
        return (await anext(trigger.run())).payload

    return asyncio.run(event())


def _sensor(bucket: str, **arguments: str) -> ImagesSensor:
    conditions = {"prefix": "images/", "quiet_minutes": "0", "marker": ""}
    return ImagesSensor(task_id="wait", bucket=bucket, **conditions | arguments)


def test_one_image_is_enough(bucket: str, put: Any) -> None:  # noqa: ANN401
    assert "No image was uploaded to" in _check(bucket).reason

    put("images/Limes/1.jpg")

    assert _check(bucket) is None


def test_marker_is_awaited_and_is_no_image(bucket: str, put: Any) -> None:  # noqa: ANN401
    put("images/Limes/1.jpg")
    assert (
        _check(bucket, marker="done/_SUCCESS").reason
        == f"The marker s3://{bucket}/images/done/_SUCCESS was not written"
    )
    put("images/done/_SUCCESS")
    assert _check(bucket, marker="done/_SUCCESS") is None


def test_marker_without_images_is_not_enough(bucket: str, put: Any) -> None:  # noqa: ANN401
    put("images/_SUCCESS")

    assert "No image was uploaded to" in _check(bucket, marker="_SUCCESS").reason


def test_bucket_with_own_and_system_files_only_has_no_image(bucket: str, put: Any) -> None:  # noqa: ANN401
    for key in ("features/latest.json", "logs/emr/j-1/stderr.gz", ".DS_Store", "Limes/._1.jpg", "Limes/Thumbs.db"):
        put(key)
    everything = Readiness(bucket, "", quiet_minutes=30)

    assert "No image was uploaded to" in check_readiness(everything, "aws_default").reason
    put("Limes/1.jpg", age_minutes=60)
    assert check_readiness(everything, "aws_default") is None


def test_next_check_is_at_the_end_of_the_quiet_period(bucket: str, put: Any) -> None:  # noqa: ANN401
    put("images/Limes/1.jpg", age_minutes=60)
    put("images/Kiwi/2.jpg", age_minutes=10)

    not_ready = _check(bucket, quiet_minutes=30)

    assert f"Uploads to s3://{bucket}/images/ (the last at" in not_ready.reason
    assert not_ready.retry_after_s == pytest.approx(20 * 60, abs=60)
    assert _check(bucket, quiet_minutes=9) is None


def test_trigger_fires_when_the_marker_is_written(bucket: str, put: Any) -> None:  # noqa: ANN401
    put("images/Limes/1.jpg")

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(None, lambda: _run(bucket, 60, marker="_SUCCESS"))
        await asyncio.sleep(1)
        assert not waiting.done()
        put("images/_SUCCESS")
        assert await waiting == {"status": "success"}

    asyncio.run(wait())


def test_trigger_reports_at_its_deadline_what_is_missing(bucket: str) -> None:
    event = _run(bucket, 0.5)

    assert event["status"] == "timeout"
    with pytest.raises(
        AirflowSensorTimeout,
        match=r"No image was uploaded to .*/images/ within 3 minutes\. Upload .*, or raise `wait_minutes`",
    ):
        ImagesSensor(task_id="wait", wait_minutes=3).execute_complete({}, event)


def test_trigger_of_a_missing_bucket_ends_at_once() -> None:
    event = _run("no-such-bucket", 60)

    with pytest.raises(AirflowFailException, match=r"Bucket 'no-such-bucket' does not exist\. Create it, or set"):
        ImagesSensor(task_id="wait").execute_complete({}, event)


def test_trigger_continues_after_errors_of_s3(
    local_aws: LocalAws,
    bucket: str,
    put: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("images/Limes/1.jpg")
    server = local_aws.environment["AWS_ENDPOINT_URL_S3"].removeprefix("http://").split(":")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with S3FaultProxy((server[0], int(server[1])), faults=first(2, Fault.SLOW_DOWN)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)

        assert _run(bucket, 60) == {"status": "success"}


def test_sensor_passes_its_conditions_to_its_trigger(bucket: str) -> None:
    sensor = ImagesSensor(task_id="wait", bucket=bucket, prefix="", wait_minutes="5", quiet_minutes="2", marker="done")

    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(DEFAULT_CONTEXT)

    _, arguments = deferred.value.trigger.serialize()
    assert arguments.pop("deadline") == pytest.approx(datetime.now(UTC).timestamp() + 300, abs=60)
    reason = f"The marker s3://{bucket}/done was not written"
    conditions = {"bucket": bucket, "prefix": "", "quiet_minutes": 2.0, "marker": "done"}
    assert arguments == {**conditions, "poke_interval": 5, "aws_conn_id": "aws_default", "logged": reason}


def test_wait_is_logged_once_with_its_end(bucket: str) -> None:
    """The sensor and its trigger write to the same log."""
    with capture_logs() as logged:
        with pytest.raises(TaskDeferred) as deferred:
            _sensor(bucket, wait_minutes="0.02").execute(DEFAULT_CONTEXT)
        event = asyncio.run(anext(deferred.value.trigger.run()))

    assert event.payload["status"] == "timeout"
    (line,) = [entry["event"] for entry in logged if "No image" in entry["event"]]
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    assert line.startswith(f"No image was uploaded to s3://{bucket}/images/ yet. Waiting until {today} ")
