"""While a step runs, its task logs the application's progress."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import WaiterError
from structlog.testing import capture_logs

from fruits_airflow.emr.triggers import StepProgressTrigger
from tests.support.http_server import serving
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow.triggers.base import TriggerEvent

    from fruits_features.job.progress import ProgressState
    from include.dev.local_aws.local import LocalAws

pytestmark = pytest.mark.usefixtures("aws_environment")


def _state(done: int, updated_at: datetime) -> bytes:
    progress: dict[str, Any] = {"done": done, "images": 90, "images_per_second": 30.0, "seconds_left": 2.0}
    return json.dumps({"run": "r", "stage": "extract", **progress, "updated_at": updated_at.isoformat()}).encode()


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


async def _until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is met, while other tasks run."""
    await asyncio.to_thread(wait_for, condition)


async def _first(trigger: StepProgressTrigger) -> TriggerEvent:
    return await anext(trigger.run())


def test_new_progress_is_logged_once_and_progress_of_an_earlier_try_is_ignored(
    local_aws: LocalAws, bucket: str, tmp_path: Path
) -> None:
    def put(done: int, updated_at: datetime) -> None:
        local_aws.s3().put_object(Bucket=bucket, Key="run/progress.json", Body=_state(done, updated_at))

    async def watch(trigger: StepProgressTrigger) -> TriggerEvent:
        read: list[ProgressState | None] = []
        read_progress = trigger._read_progress  # noqa: SLF001

        async def recorded() -> ProgressState | None:
            read.append(await read_progress())
            return read[-1]

        def is_read(updated_at: datetime) -> bool:
            return bool(read and read[-1] and read[-1].updated_at == updated_at.isoformat())

        trigger._read_progress = recorded  # type: ignore[method-assign]  # noqa: SLF001
        waiting = asyncio.create_task(_first(trigger))
        await _until(lambda: is_read(earlier))
        for _ in range(2):
            now = datetime.now(UTC)
            put(45, now)
            await _until(partial(is_read, now))
        await _until(lambda: any("is RUNNING" in entry["event"] for entry in logged))
        polls = len(read)
        await _until(lambda: len(read) >= polls + 2)  # time for a second log line
        ended.touch()
        return await waiting

    ended, earlier = tmp_path / "ended", datetime.now(UTC) - timedelta(hours=1)
    put(10, earlier)
    cluster, step = _start(local_aws, "timeout", "600", "sh", "-c", f"until [ -e '{ended}' ]; do sleep 0.2; done")

    with capture_logs() as logged:
        event = asyncio.run(watch(_trigger(cluster, step, bucket)))

    assert event.payload == {"status": "success", "value": [step]}
    lines = [entry["event"] for entry in logged]
    assert [line for line in lines if line.startswith("Progress")] == [
        "Progress: extract: 45 of 90 images (50%), 30/s, 2 s left"
    ]
    states = [line for line in lines if step in line]
    assert len(states) == len(set(states)), "the state is logged once per change, not per poll"
    assert re.fullmatch(rf"Step {step} is RUNNING\. Waiting until [\d-]+ [\d:]+ UTC at the latest\.", states[-1])


def test_progress_is_logged_a_last_time_when_the_step_has_ended(
    local_aws: LocalAws, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step over a thousand images ends soon after it has reported progress."""
    report, stored = tmp_path / "progress.json", local_aws.s3_folder / bucket / "run"
    report.write_bytes(_state(90, datetime.now(UTC) + timedelta(hours=1)))
    monkeypatch.setattr(StepProgressTrigger, "_pause", lambda _: asyncio.sleep(0.5))
    cluster, step = _start(local_aws, "sh", "-c", f"mkdir -p '{stored}'; cp '{report}' '{stored}'")

    with capture_logs() as logged:
        asyncio.run(_first(_trigger(cluster, step, bucket)))

    lines = [entry["event"] for entry in logged if entry["event"].startswith("Progress")]
    assert lines == ["Progress: extract: 90 of 90 images (100%), 30/s, 2 s left"]


def test_trigger_of_an_ended_step_leaves_no_coroutine_behind(
    local_aws: LocalAws, bucket: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    connect = S3Hook._get_async_conn  # noqa: SLF001 - called by `get_async_conn` in a thread
    connected = threading.Event()

    def connect_slowly(hook: S3Hook) -> object:
        time.sleep(1)
        try:
            return connect(hook)
        finally:
            connected.set()

    monkeypatch.setattr(S3Hook, "_get_async_conn", connect_slowly)
    cluster, step = _start(local_aws, "true")
    local_aws.emr().get_waiter("step_complete").wait(ClusterId=cluster, StepId=step, WaiterConfig={"Delay": 1})

    asyncio.run(_first(_trigger(cluster, step, bucket)))
    assert connected.wait(60)
    time.sleep(0.5)  # until the thread has returned
    gc.collect()

    assert [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)] == []


@pytest.mark.parametrize(
    ("code", "status", "logged"),
    [
        ("ThrottlingException", 400, "EMR does not report the state (ThrottlingException)"),
        ("InternalServerException", 500, "EMR does not report the state (InternalServerException)"),
        ("ExpiredTokenException", 400, None),
    ],
)
def test_wait_continues_after_temporary_errors_only(code: str, status: int, logged: str | None) -> None:
    class Waiter:
        async def wait(self, **_: object) -> None:
            response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise WaiterError("StepsWaitForTerminal", f"An error occurred ({code})", response)

    trigger = _trigger("j-1", "s-1", "fruits")
    trigger.attempts, trigger.waiter_delay = 1, 0

    with capture_logs() as lines, pytest.raises(Exception, match=code if logged is None else "max attempts reached"):
        asyncio.run(trigger._wait(Waiter()))  # noqa: SLF001 - EMR's errors cannot be provoked here

    assert [entry["event"].partition(". Waiting")[0] for entry in lines] == ([logged] if logged else [])


@pytest.mark.parametrize("status", [200, 404])
def test_answer_that_breaks_off_does_not_affect_the_step(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")

    async def read() -> ProgressState | None:
        trigger = _trigger("j-1", "s-1", "fruits")
        async with await S3Hook().get_async_conn() as trigger._s3:  # type: ignore[no-untyped-call]  # noqa: SLF001
            return await trigger._read_progress()  # noqa: SLF001

    with serving(Half) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        assert asyncio.run(read()) is None


def test_missing_progress_does_not_affect_the_step(local_aws: LocalAws, bucket: str) -> None:
    cluster, step = _start(local_aws, "true")

    event = asyncio.run(_first(_trigger(cluster, step, bucket)))

    assert event.payload["status"] == "success"
