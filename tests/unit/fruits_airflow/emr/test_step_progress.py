"""While a step runs, its task logs the application's progress."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from fruits_airflow.emr.triggers import StepProgressTrigger

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.triggers.base import TriggerEvent

    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")


def _state(done: int, updated_at: datetime) -> bytes:
    progress: dict[str, Any] = {"done": done, "images": 90, "images_per_second": 30.0, "seconds_left": 2.0}
    return json.dumps({"run": "r", "stage": "describe", **progress, "updated_at": updated_at.isoformat()}).encode()


def _start(aws: LocalAws, *command: str) -> tuple[str, str]:
    step = {"Name": "slow", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": list(command)}}
    instances = {"KeepJobFlowAliveWhenNoSteps": False}
    cluster = aws.emr().run_job_flow(Name="progress", Instances=instances, Steps=[step])["JobFlowId"]
    return cluster, aws.emr().list_steps(ClusterId=cluster)["Steps"][0]["Id"]


def _trigger(cluster: str, step: str, bucket: str) -> StepProgressTrigger:
    """Rebuild a trigger from its serialized form, as the triggerer does."""
    waiting = {"job_flow_id": cluster, "step_ids": [step], "waiter_delay": 1, "waiter_max_attempts": 120}
    path, arguments = StepProgressTrigger(progress=f"s3://{bucket}/run/progress.json", **waiting).serialize()
    module, _, name = path.rpartition(".")
    rebuilt: StepProgressTrigger = getattr(import_module(module), name)(**arguments)
    return rebuilt


async def _first(trigger: StepProgressTrigger) -> TriggerEvent:
    return await anext(trigger.run())


def test_new_progress_is_logged_once_and_progress_of_an_earlier_try_is_ignored(
    local_aws: LocalAws, bucket: str, tmp_path: Path
) -> None:
    def put(done: int, updated_at: datetime) -> None:
        local_aws.s3().put_object(Bucket=bucket, Key="run/progress.json", Body=_state(done, updated_at))

    async def watch(trigger: StepProgressTrigger) -> TriggerEvent:
        waiting = asyncio.create_task(_first(trigger))
        await asyncio.sleep(3)
        put(45, datetime.now(UTC))
        await asyncio.sleep(4)  # time for two log lines
        ended.touch()
        return await waiting

    ended = tmp_path / "ended"
    put(10, datetime.now(UTC) - timedelta(hours=1))
    cluster, step = _start(local_aws, "timeout", "60", "sh", "-c", f"until [ -e '{ended}' ]; do sleep 0.2; done")

    with capture_logs() as logged:
        event = asyncio.run(watch(_trigger(cluster, step, bucket)))

    assert event.payload == {"status": "success", "value": [step]}
    lines = [entry["event"] for entry in logged if entry["event"].startswith("Progress")]
    assert lines == ["Progress: describe: 45 of 90 images (50%), 30/s, 2 s left"]


def test_missing_progress_does_not_affect_the_step(local_aws: LocalAws, bucket: str) -> None:
    cluster, step = _start(local_aws, "true")

    event = asyncio.run(_first(_trigger(cluster, step, bucket)))

    assert event.payload["status"] == "success"
