"""Triggers for EMR clusters and steps."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.emr import EmrHook
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger
from airflow.providers.amazon.aws.triggers.emr import (
    EmrAddStepsTrigger,
    EmrCreateJobFlowTrigger,
    EmrTerminateJobFlowTrigger,
)
from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow.hooks.aws import RETRY_CONFIG, s3
from fruits_features.contract.layout import split

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow.triggers.base import TriggerEvent


class RetryingTrigger(AwsBaseWaiterTrigger):
    """Poll EMR with the retry policy of `hooks.aws`.

    The provider's triggers take `botocore_config` in version 9.39.0, but not in Amazon MWAA's 9.34.0.
    """

    def hook(self) -> EmrHook:
        """Return the hook that polls."""
        return EmrHook(
            aws_conn_id=self.aws_conn_id, region_name=self.region_name, verify=self.verify, config=RETRY_CONFIG
        )


class ClusterStartTrigger(RetryingTrigger, EmrCreateJobFlowTrigger):
    """Wait until a cluster is ready or has ended."""


class ClusterEndTrigger(RetryingTrigger, EmrTerminateJobFlowTrigger):
    """Wait until a cluster is terminated."""


class StepProgressTrigger(RetryingTrigger, EmrAddStepsTrigger):
    """Wait for a step like `EmrAddStepsTrigger`, and log the application's progress in the task's log.

    Args:
        progress: URI of the `progress.json` that the application updates.
        kwargs: Arguments of `EmrAddStepsTrigger`.
    """

    def __init__(self, *, progress: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.progress = progress
        self.serialized_fields = {**self.serialized_fields, "progress": progress}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the step has ended."""
        progress_log = asyncio.create_task(self._log_progress())
        try:
            async for event in super().run():
                yield event
        finally:
            progress_log.cancel()
            (outcome,) = await asyncio.gather(progress_log, return_exceptions=True)
            if isinstance(outcome, Exception):  # not the cancellation
                self.log.warning("Could not read the step's progress from %s: %s", self.progress, outcome)

    async def on_kill(self) -> None:
        """Cancel the step. Airflow calls this when a user clears or marks the task."""
        fields = self.serialized_fields
        async with await self.hook().get_async_conn() as emr:  # type: ignore[no-untyped-call]
            await emr.cancel_steps(ClusterId=fields["job_flow_id"], StepIds=fields["step_ids"])
        self.log.info("Cancelled steps %s of cluster %s.", fields["step_ids"], fields["job_flow_id"])

    async def _log_progress(self) -> None:
        """Log each new state of the application until cancelled. A failure here does not end the wait for the step."""
        from fruits_features.job.progress import ProgressState

        bucket, key = split(self.progress)
        last_update = datetime.now(UTC).isoformat()  # ignores the file of an earlier try
        async with await s3(aws_conn_id=self.aws_conn_id).get_async_conn() as client:  # type: ignore[no-untyped-call]
            while True:
                with suppress(_ProgressUnavailableError):
                    state = ProgressState(**json.loads(await _read(client, bucket, key)))
                    if state.updated_at > last_update:
                        self.log.info("Progress: %s", state)
                        last_update = state.updated_at
                await asyncio.sleep(self.waiter_delay)


class _ProgressUnavailableError(Exception):
    """The progress file does not exist or cannot be read."""


async def _read(client: Any, bucket: str, key: str) -> bytes:
    """Return the content of an object.

    Raises:
        _ProgressUnavailableError: The object does not exist, or S3 refused the request.
    """
    try:
        response = await client.get_object(Bucket=bucket, Key=key)
        content: bytes = await response["Body"].read()
    except (BotoCoreError, ClientError) as error:
        raise _ProgressUnavailableError(key) from error
    return content
