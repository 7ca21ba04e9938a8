"""Sensor for images in S3."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout
from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow import request, run_context
from fruits_airflow.s3 import readiness
from fruits_airflow.s3.triggers import ImagesTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class ImagesSensor(BaseOperator):
    """Wait until a bucket contains at least one image and, optionally, until its upload is complete.

    The defaults are the run's bucket, prefix and parameters. All arguments are templated.

    Args:
        bucket: Name of the bucket.
        prefix: Key prefix of the images, empty or ending in "/".
        wait_minutes: Longest wait in minutes.
        quiet_minutes: Minutes since the last upload; 0 for no check.
        marker: Key below the prefix of an object that marks a complete upload; empty for no check.
        kwargs: Arguments of `BaseOperator`.
    """

    deferrable = True
    poke_interval = 5
    aws_conn_id = S3Hook.default_conn_name
    template_fields: Sequence[str] = ("bucket", "prefix", "wait_minutes", "quiet_minutes", "marker")

    def __init__(
        self,
        *,
        bucket: Any = run_context.bucket,
        prefix: Any = run_context.image_prefix,
        wait_minutes: Any = "{{ params.wait_minutes }}",
        quiet_minutes: Any = "{{ params.quiet_minutes }}",
        marker: Any = "{{ params.marker or '' }}",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault(
            "doc_md",
            "Waits in the triggerer for images, the `quiet_minutes` and the `marker`, for `wait_minutes` at most.",
        )
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.wait_minutes = wait_minutes
        self.quiet_minutes = quiet_minutes
        self.marker = marker

    def execute(self, context: Context) -> None:
        """Check what the run requests, check the bucket once, then wait in the triggerer.

        Raises:
            AirflowFailException: The run's parameters contradict each other, the bucket does not exist, or S3 refused
                access.
        """
        request.check(context)
        conditions = self._conditions()
        try:
            not_ready = readiness.check_readiness(conditions, self.aws_conn_id)
        except (BotoCoreError, ClientError) as error:
            message = readiness.refusal(error, conditions)
            if message is None:
                raise
            raise AirflowFailException(message) from error
        if not_ready:
            self._defer(conditions, not_ready)

    def _conditions(self) -> readiness.Readiness:
        return readiness.Readiness(self.bucket, self.prefix, float(self.quiet_minutes), self.marker or None)

    def _defer(self, conditions: readiness.Readiness, not_ready: readiness.NotReady) -> None:
        deadline = datetime.now(UTC) + timedelta(minutes=float(self.wait_minutes))
        self.log.info(readiness.WAITING, not_ready.reason, f"{deadline:%Y-%m-%d %H:%M}")
        self.defer(
            trigger=ImagesTrigger(
                **asdict(conditions),
                deadline=deadline.timestamp(),
                logged=not_ready.reason,
                poke_interval=self.poke_interval,
                aws_conn_id=self.aws_conn_id,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002 - Airflow's signature
        """Succeed or fail by the trigger's event.

        Raises:
            AirflowFailException: S3 refused a request.
            AirflowSensorTimeout: The conditions were not met within `wait_minutes`.
        """
        if event["status"] == "refused":
            raise AirflowFailException(event["message"])
        if event["status"] == "timeout":
            raise AirflowSensorTimeout(
                f"{event['reason']} within {self.wait_minutes} minutes. {event['remedy']}, or raise `wait_minutes`."
            )
