"""Triggers for EMR clusters and steps."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientError as HttpError  # aiobotocore raises it for an answer that breaks off
from airflow.providers.amazon.aws.hooks.emr import EmrHook
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger
from airflow.providers.amazon.aws.triggers.emr import (
    EmrAddStepsTrigger,
    EmrCreateJobFlowTrigger,
    EmrTerminateJobFlowTrigger,
)
from airflow.triggers.base import TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, WaiterError

from fruits_airflow.hooks.aws import RETRY_CONFIG, THROTTLING_CODES, s3
from fruits_features.contract.layout import split

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fruits_features.job.progress import ProgressState

WAIT_TIMEOUT_MESSAGE: Final = "max attempts reached"
"""Message of the event of a wait that has timed out, also of the provider's triggers."""
PROGRESS_S = 2.0
"""Seconds between two requests for the application's progress."""


class _WaitError(Exception):
    """The wait ended without success."""


class RetryingTrigger(AwsBaseWaiterTrigger):
    """Poll EMR with the retry policy of `hooks.aws`, and log each change of the state once.

    The provider's triggers log each poll. They take `botocore_config` in version 9.39.0, but not in Amazon MWAA's
    9.34.0.
    """

    def hook(self) -> EmrHook:
        """Return the hook that polls."""
        return EmrHook(
            aws_conn_id=self.aws_conn_id, region_name=self.region_name, verify=self.verify, config=RETRY_CONFIG
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event of status `success` or `error`."""
        hook = self.hook()
        async with await hook.get_async_conn() as emr:  # type: ignore[no-untyped-call]
            waiter = hook.get_waiter(self.waiter_name, deferrable=True, client=emr)
            try:
                await self._wait(waiter)
            except _WaitError as error:
                yield self._event(status="error", message=str(error))
            else:
                yield self._event(status="success")

    def _event(self, **payload: str) -> TriggerEvent:
        return TriggerEvent({**payload, self.return_key: self.return_value})  # type: ignore[no-untyped-call]

    async def _wait(self, waiter: Any) -> None:
        """Poll until the provider's waiter succeeds.

        Raises:
            _WaitError: The waiter has failed, EMR refused a request, or the number of attempts is reached.
        """
        until = datetime.now(UTC) + timedelta(seconds=self.waiter_delay * self.attempts)
        logged = None
        for _ in range(self.attempts):
            state = await self._poll(waiter)
            if state is None:
                return
            if state != logged:
                self.log.info("%s. Waiting until %s UTC at the latest.", state, f"{until:%Y-%m-%d %H:%M}")
                logged = state
            await self._pause()
        raise _WaitError(f"Waiter error: {WAIT_TIMEOUT_MESSAGE}")

    async def _poll(self, waiter: Any) -> str | None:
        """Return the current state as a sentence without its period, or `None` when the wait is over.

        Raises:
            _WaitError: The state is a failure, or EMR refused the request and would refuse it again.
        """
        try:
            await waiter.wait(**self.waiter_args, WaiterConfig={"MaxAttempts": 1})
        except NoCredentialsError as error:
            return str(error).rstrip(".")
        except WaiterError as error:
            response: Mapping[str, Any] = error.last_response
            if _is_temporary(response):
                return f"EMR does not report the state ({response['Error']['Code']})"
            if "Error" in response or "terminal failure" in str(error):
                raise _WaitError(f"{_states(response) or self.failure_message}: {error}") from error
            return _states(response)
        return None

    async def _pause(self) -> None:
        """Wait until the next poll."""
        await asyncio.sleep(self.waiter_delay)


def _is_temporary(response: Mapping[str, Any]) -> bool:
    """Return whether EMR throttled a request, or failed to answer it."""
    status: int = response.get("ResponseMetadata", {}).get("HTTPStatusCode", HTTPStatus.OK)
    return response.get("Error", {}).get("Code") in THROTTLING_CODES or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _states(response: Mapping[str, Any]) -> str:
    """Return the states in a response of DescribeCluster or ListSteps.

    >>> status = {"State": "STARTING", "StateChangeReason": {"Message": "Provisioning"}}
    >>> _states({"Cluster": {"Id": "j-1", "Status": status}})
    'Cluster j-1 is STARTING (Provisioning)'
    >>> _states({"Steps": [{"Id": "s-1", "Status": {"State": "RUNNING", "StateChangeReason": {}}}]})
    'Step s-1 is RUNNING'
    """
    found = [("Step", step) for step in response.get("Steps", ())]
    if "Cluster" in response:
        found.append(("Cluster", response["Cluster"]))
    return "; ".join(f"{kind} {item['Id']} is {_state(item['Status'])}" for kind, item in found)


def _state(status: Mapping[str, Any]) -> str:
    message = (status.get("StateChangeReason") or {}).get("Message")
    return f"{status['State']} ({message.rstrip('. ')})" if message else str(status["State"])


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
        self._s3: Any = None
        self._started_at = self._logged = ""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the step has ended, after its last progress was logged."""
        self._started_at = datetime.now(UTC).isoformat()
        async with await s3(aws_conn_id=self.aws_conn_id).get_async_conn() as self._s3:  # type: ignore[no-untyped-call]
            async for event in super().run():
                await self._log_progress()
                yield event

    async def on_kill(self) -> None:
        """Cancel the step. Airflow calls this when a user clears or marks the task."""
        fields = self.serialized_fields
        async with await self.hook().get_async_conn() as emr:  # type: ignore[no-untyped-call]
            await emr.cancel_steps(ClusterId=fields["job_flow_id"], StepIds=fields["step_ids"])
        self.log.info("Cancelled steps %s of cluster %s.", fields["step_ids"], fields["job_flow_id"])

    async def _pause(self) -> None:
        """Log the application's progress until the next poll."""
        loop = asyncio.get_running_loop()
        next_poll_s = loop.time() + self.waiter_delay
        while (remaining_s := next_poll_s - loop.time()) > 0:
            await asyncio.sleep(min(PROGRESS_S, remaining_s))
            await self._log_progress()

    async def _log_progress(self) -> None:
        """Log the application's state if it has changed. A failure here does not end the wait for the step."""
        state = await self._read_progress()
        is_of_this_try = state and state.updated_at > self._started_at
        if is_of_this_try and str(state) != self._logged:
            self.log.info("Progress: %s", state)
            self._logged = str(state)

    async def _read_progress(self) -> ProgressState | None:
        """Return the application's state, or `None` if it has not reported one or S3 has not answered."""
        from fruits_features.job.progress import ProgressState

        bucket, key = split(self.progress)
        try:
            response = await self._s3.get_object(Bucket=bucket, Key=key)
            return ProgressState(**json.loads(await response["Body"].read()))
        except (BotoCoreError, ClientError, HttpError):
            return None
        except (ValueError, TypeError) as error:  # of another version
            self.log.warning("Could not read the step's progress from %s: %s", self.progress, error)
            return None
