"""Triggers: what deferred tasks wait for in the triggerer."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.triggers.emr import EmrAddStepsTrigger
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow.aws import s3
from fruits_airflow.waiting import Lack, Wanted, look, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ImagesTrigger(BaseTrigger):
    """Waits for images, quiet and a marker, as `fruits_airflow.waiting` sees them, no longer than a deadline.

    The deadline is the trigger's own because `airflow dags test` runs triggers without the timeout of their deferral;
    it is absolute, so that a restarted triggerer does not begin anew.

    Args:
        deadline: seconds since the epoch.
        poke_interval: seconds between two looks at least.
        aws_conn_id: Airflow's connection.
        wanted: as for `fruits_airflow.waiting.Wanted`.
    """

    def __init__(self, *, deadline: float, poke_interval: float, aws_conn_id: str | None, **wanted: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.deadline = deadline
        self.poke_interval = poke_interval
        self.aws_conn_id = aws_conn_id
        self.wanted = Wanted(**wanted)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        own = {name: getattr(self, name) for name in ("deadline", "poke_interval", "aws_conn_id")}
        return f"{type(self).__module__}.{type(self).__qualname__}", {**own, **asdict(self.wanted)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event of status `success`, `timeout` or `refused`."""
        told = None
        while isinstance(lack := await self._look(), Lack):
            left_s = self.deadline - datetime.now(UTC).timestamp()
            if left_s <= 0:
                yield _event(status="timeout", seen=lack.seen, way_out=lack.way_out)
                return
            if lack.seen != told:
                self.log.info("%s yet.", lack.seen)
                told = lack.seen
            await asyncio.sleep(min(max(lack.again_s, self.poke_interval), left_s))
        yield _event(status="refused", message=lack) if lack else _event(status="success")

    async def _look(self) -> Lack | str | None:
        """Look in a thread; a sentence when S3 refuses, and a lack as any other when it is in trouble."""
        try:
            return await sync_to_async(look, thread_sensitive=False)(self.wanted, self.aws_conn_id)
        except (BotoCoreError, ClientError) as error:
            sentence = refusal(error, self.wanted) if isinstance(error, ClientError) else None
            lack = Lack(f"S3 did not answer for {self.wanted.place} ({error})", "see what is the matter with S3")
            return sentence or lack


def _event(**payload: str) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]


class StepProgressTrigger(EmrAddStepsTrigger):
    """Waits for a step as `EmrAddStepsTrigger` does, and tells in the task's log how far the application is.

    Args:
        progress: URI of the `progress.json` that the application keeps up to date.
        kwargs: as for `EmrAddStepsTrigger`.
    """

    def __init__(self, *, progress: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.progress = progress
        self.serialized_fields = {**self.serialized_fields, "progress": progress}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the event of the step's end."""
        telling = asyncio.create_task(self._tell())
        try:
            async for event in super().run():
                yield event
        finally:
            telling.cancel()
            (ended,) = await asyncio.gather(telling, return_exceptions=True)
            if isinstance(ended, Exception):  # not the cancellation
                self.log.warning("The progress could not be told: %s", ended)

    async def on_kill(self) -> None:
        """Cancel the step: somebody has cleared the task, or marked it, and nobody waits for its end."""
        waited_for = self.serialized_fields
        async with await self.hook().get_async_conn() as emr:  # type: ignore[no-untyped-call]
            await emr.cancel_steps(ClusterId=waited_for["job_flow_id"], StepIds=waited_for["step_ids"])
        self.log.info("Cancelled steps %s of cluster %s.", waited_for["step_ids"], waited_for["job_flow_id"])

    async def _tell(self) -> None:
        """Log every new state of the application until cancelled; the wait does not depend on it."""
        from fruits_features.progress import State

        bucket, key = S3Hook.parse_s3_url(self.progress)
        told = datetime.now(UTC).isoformat()  # an earlier try may have left its own
        async with await s3(aws_conn_id=self.aws_conn_id).get_async_conn() as client:  # type: ignore[no-untyped-call]
            while True:
                with suppress(_NotThereError):
                    state = State(**json.loads(await _read(client, bucket, key)))
                    if state.updated_at > told:
                        self.log.info("Progress: %s", state)
                        told = state.updated_at
                await asyncio.sleep(self.waiter_delay)


class _NotThereError(Exception):
    """The application has not told anything yet."""


async def _read(client: Any, bucket: str, key: str) -> bytes:
    """Read an object.

    Raises:
        _NotThereError: when there is none, or S3 is in trouble.
    """
    try:
        answer = await client.get_object(Bucket=bucket, Key=key)
        content: bytes = await answer["Body"].read()
    except (BotoCoreError, ClientError) as error:
        raise _NotThereError(key) from error
    return content
