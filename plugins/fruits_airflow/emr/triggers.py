"""The trigger that waits for a step."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.triggers.emr import EmrAddStepsTrigger
from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow.hooks.aws import s3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow.triggers.base import TriggerEvent


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
        from fruits_features.job.progress import ProgressState

        bucket, key = S3Hook.parse_s3_url(self.progress)
        told = datetime.now(UTC).isoformat()  # an earlier try may have left its own
        async with await s3(aws_conn_id=self.aws_conn_id).get_async_conn() as client:  # type: ignore[no-untyped-call]
            while True:
                with suppress(_NotThereError):
                    state = ProgressState(**json.loads(await _read(client, bucket, key)))
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
