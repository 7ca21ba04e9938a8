"""The trigger that waits for images."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow.s3.readiness import NotReady, Readiness, look, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ImagesTrigger(BaseTrigger):
    """Waits for images, quiet and a marker, as `fruits_airflow.s3.readiness` sees them, no longer than a deadline.

    The deadline is the trigger's own because `airflow dags test` runs triggers without the timeout of their deferral;
    it is absolute, so that a restarted triggerer does not begin anew.

    Args:
        deadline: seconds since the epoch.
        poke_interval: seconds between two looks at least.
        aws_conn_id: Airflow's connection.
        wanted: as for `fruits_airflow.s3.readiness.Wanted`.
    """

    def __init__(self, *, deadline: float, poke_interval: float, aws_conn_id: str | None, **wanted: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.deadline = deadline
        self.poke_interval = poke_interval
        self.aws_conn_id = aws_conn_id
        self.wanted = Readiness(**wanted)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        own = {name: getattr(self, name) for name in ("deadline", "poke_interval", "aws_conn_id")}
        return f"{type(self).__module__}.{type(self).__qualname__}", {**own, **asdict(self.wanted)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event of status `success`, `timeout` or `refused`."""
        told = None
        while isinstance(lack := await self._look(), NotReady):
            left_s = self.deadline - datetime.now(UTC).timestamp()
            if left_s <= 0:
                yield _event(status="timeout", seen=lack.seen, way_out=lack.way_out)
                return
            if lack.seen != told:
                self.log.info("%s yet.", lack.seen)
                told = lack.seen
            await asyncio.sleep(min(max(lack.again_s, self.poke_interval), left_s))
        yield _event(status="refused", message=lack) if lack else _event(status="success")

    async def _look(self) -> NotReady | str | None:
        """Look in a thread; a sentence when S3 refuses, and a lack as any other when it is in trouble."""
        try:
            return await sync_to_async(look, thread_sensitive=False)(self.wanted, self.aws_conn_id)
        except (BotoCoreError, ClientError) as error:
            sentence = refusal(error, self.wanted) if isinstance(error, ClientError) else None
            lack = NotReady(f"S3 did not answer for {self.wanted.place} ({error})", "see what is the matter with S3")
            return sentence or lack


def _event(**payload: str) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]
