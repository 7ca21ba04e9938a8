"""Triggers: what deferred tasks wait for in the triggerer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.triggers.s3 import S3KeyTrigger
from airflow.triggers.base import TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class S3KeyDeadlineTrigger(S3KeyTrigger):
    """Waits for a key as `S3KeyTrigger` does, but no longer than a deadline.

    The deadline is the trigger's own because `airflow dags test` runs triggers without the timeout of their deferral;
    it is absolute, so that a restarted triggerer does not begin anew.

    Args:
        deadline: seconds since the epoch.
        kwargs: as for `S3KeyTrigger`.
    """

    def __init__(self, *, deadline: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Name the class and its arguments."""
        _, arguments = super().serialize()
        arguments.pop("hook_params")  # its constructor would nest them at each round trip
        return f"{type(self).__module__}.{type(self).__qualname__}", {**arguments, "deadline": self.deadline}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the first event of the wait, or an event of status `timeout`."""
        remaining_s = self.deadline - datetime.now(UTC).timestamp()
        try:
            async with asyncio.timeout(max(remaining_s, 0)):
                event = await anext(super().run())
        except TimeoutError:
            event = TriggerEvent({"status": "timeout"})  # type: ignore[no-untyped-call]
        yield event
