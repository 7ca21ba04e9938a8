"""A run begins when its images are there, quiet and marked as wanted; else the sentence says what is missing."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, TaskDeferred

from fruits_airflow.s3.readiness import NotReady, Readiness, look
from fruits_airflow.s3.sensors import ImagesSensor
from fruits_airflow.s3.triggers import ImagesTrigger
from include.dev.local_aws.s3.fault_proxy import Fault, S3FaultProxy, first

if TYPE_CHECKING:
    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def put(local_aws: LocalAws, bucket: str) -> Any:  # noqa: ANN401
    def put(key: str, age_minutes: float = 0) -> None:
        local_aws.s3().put_object(Bucket=bucket, Key=key, Body=b"image")
        then = time.time() - 60 * age_minutes
        os.utime(local_aws.s3_folder / bucket / key, (then, then))

    return put


def _look(bucket: str, **wanted: Any) -> NotReady | None:  # noqa: ANN401
    return look(Readiness(bucket, "images/", **wanted), "aws_default")


def _run(bucket: str, seconds: float, **wanted: Any) -> dict[str, Any]:  # noqa: ANN401
    """Let a trigger wait, rebuilt from its serialized form as the triggerer does."""
    deadline = datetime.now(UTC).timestamp() + seconds
    options = {"deadline": deadline, "poke_interval": 0.2, "aws_conn_id": "aws_default"}
    path, arguments = ImagesTrigger(bucket=bucket, prefix="images/", **options, **wanted).serialize()
    module, _, name = path.rpartition(".")
    trigger = getattr(import_module(module), name)(**arguments)

    async def event() -> dict[str, Any]:
        return (await anext(trigger.run())).payload

    return asyncio.run(event())


def test_first_image_is_enough(bucket: str, put: Any) -> None:  # noqa: ANN401
    assert "No image came to" in _look(bucket).seen

    put("images/Limes/1.jpg")

    assert _look(bucket) is None


def test_marker_is_waited_for_and_is_no_image(bucket: str, put: Any) -> None:  # noqa: ANN401
    put("images/Limes/1.jpg")
    assert _look(bucket, marker="done/_SUCCESS").seen == f"The marker s3://{bucket}/images/done/_SUCCESS did not come"
    put("images/done/_SUCCESS")
    assert _look(bucket, marker="done/_SUCCESS") is None


def test_marker_without_images_is_not_enough(bucket: str, put: Any) -> None:  # noqa: ANN401
    put("images/_SUCCESS")

    assert "No image came to" in _look(bucket, marker="_SUCCESS").seen


def test_quiet_is_waited_for_until_it_can_be(bucket: str, put: Any) -> None:  # noqa: ANN401
    put("images/Limes/1.jpg", age_minutes=60)
    put("images/Kiwi/2.jpg", age_minutes=10)

    lack = _look(bucket, quiet_minutes=30)

    assert f"Uploads to s3://{bucket}/images/, the last one at" in lack.seen
    assert lack.again_s == pytest.approx(20 * 60, abs=60)
    assert _look(bucket, quiet_minutes=9) is None


def test_trigger_fires_when_the_marker_comes(bucket: str, put: Any) -> None:  # noqa: ANN401
    put("images/Limes/1.jpg")

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(None, lambda: _run(bucket, 60, marker="_SUCCESS"))
        await asyncio.sleep(1)
        assert not waiting.done()
        put("images/_SUCCESS")
        assert await waiting == {"status": "success"}

    asyncio.run(wait())


def test_trigger_tells_at_its_deadline_what_is_missing(bucket: str) -> None:
    event = _run(bucket, 0.5)

    assert event["status"] == "timeout"
    with pytest.raises(
        AirflowSensorTimeout, match=r"No image came to .*/images/ within 3 minutes: upload .*, or wait longer with"
    ):
        ImagesSensor(task_id="wait", wait_minutes=3).execute_complete({}, event)


def test_trigger_of_a_bucket_that_is_gone_ends_at_once() -> None:
    event = _run("no-such-bucket", 60)

    with pytest.raises(AirflowFailException, match="There is no bucket 'no-such-bucket': create it, or set"):
        ImagesSensor(task_id="wait").execute_complete({}, event)


def test_trigger_outlives_an_s3_in_trouble(
    local_aws: LocalAws,
    bucket: str,
    put: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("images/Limes/1.jpg")
    server = local_aws.environment["AWS_ENDPOINT_URL_S3"].removeprefix("http://").split(":")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with S3FaultProxy((server[0], int(server[1])), faults=first(2, Fault.SLOW_DOWN)) as trouble:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", trouble.url)

        assert _run(bucket, 60) == {"status": "success"}


def test_sensor_hands_what_is_wanted_to_its_trigger(bucket: str) -> None:
    sensor = ImagesSensor(task_id="wait", bucket=bucket, prefix="", wait_minutes="5", quiet_minutes="2", marker="done")

    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})

    _, arguments = deferred.value.trigger.serialize()
    assert arguments.pop("deadline") == pytest.approx(datetime.now(UTC).timestamp() + 300, abs=60)
    wanted = {"bucket": bucket, "prefix": "", "quiet_minutes": 2.0, "marker": "done"}
    assert arguments == {**wanted, "poke_interval": 5, "aws_conn_id": "aws_default"}
