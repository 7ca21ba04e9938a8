"""Trigger for images in S3."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow.s3.readiness import WAITING, NotReady, Readiness, check_readiness, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ImagesTrigger(BaseTrigger):
    """Wait until the conditions of `fruits_airflow.s3.readiness` are met or a deadline has passed.

    The trigger has a deadline because `airflow dags test` ignores the timeout of a deferral. The deadline is absolute,
    so that it stays the same when the triggerer restarts.

    Args:
        deadline: Seconds since the epoch.
        poke_interval: Shortest time between two checks in seconds.
        aws_conn_id: Airflow's AWS connection.
        logged: Reason that the sensor has logged; empty for none.
        conditions: Arguments of `fruits_airflow.s3.readiness.Readiness`.
    """

    def __init__(
        self, *, deadline: float, poke_interval: float, aws_conn_id: str | None, logged: str = "", **conditions: Any
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.deadline = deadline
        self.poke_interval = poke_interval
        self.aws_conn_id = aws_conn_id
        self.logged = logged
        self.conditions = Readiness(**conditions)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and its arguments."""
        options = {name: getattr(self, name) for name in ("deadline", "poke_interval", "aws_conn_id", "logged")}
        return f"{type(self).__module__}.{type(self).__qualname__}", {**options, **asdict(self.conditions)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event of status `success`, `timeout` or `refused`."""
        until = f"{datetime.fromtimestamp(self.deadline, UTC):%Y-%m-%d %H:%M}"
        while isinstance(result := await self._check(), NotReady):
            remaining_s = self.deadline - datetime.now(UTC).timestamp()
            if remaining_s <= 0:
                yield _event(status="timeout", reason=result.reason, remedy=result.remedy)
                return
            if result.reason != self.logged:
                self.log.info(WAITING, result.reason, until)
                self.logged = result.reason
            await asyncio.sleep(min(max(result.retry_after_s, self.poke_interval), remaining_s))
        yield _event(status="refused", message=result) if result else _event(status="success")

    async def _check(self) -> NotReady | str | None:
        """Check the conditions in a thread.

        Returns:
            The unmet condition, a message when S3 refused a request, or `None` when all conditions are met. A temporary
            error of S3 counts as an unmet condition.
        """
        try:
            return await sync_to_async(check_readiness, thread_sensitive=False)(self.conditions, self.aws_conn_id)
        except (BotoCoreError, ClientError) as error:
            message = refusal(error, self.conditions)
            return message or NotReady(
                f"S3 did not list {self.conditions.uri} ({error})", "Check the AWS Health Dashboard and the network"
            )


def _event(**payload: str) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]
