"""The sensor that waits for images."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout
from botocore.exceptions import ClientError

from fruits_airflow import run_context
from fruits_airflow.s3 import readiness
from fruits_airflow.s3.triggers import ImagesTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class ImagesSensor(BaseOperator):
    """Waits until a bucket holds images below a prefix: at least one, and, as wanted, all of them.

    Args:
        bucket: the bucket's name (templated); the run's by default.
        prefix: the prefix, empty or ending in "/" (templated); the run's by default.
        wait_minutes: how long to wait (templated); this and what follows are the run's parameters by default.
        quiet_minutes: for how long no object must have come (templated); 0 for not at all.
        marker: key below the prefix of an object that tells that all images are there (templated); empty for none.
        kwargs: as for `BaseOperator`.
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
            "doc_md", "Waits in the triggerer, at most `wait_minutes`, for images, `quiet_minutes` and the `marker`."
        )
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.wait_minutes = wait_minutes
        self.quiet_minutes = quiet_minutes
        self.marker = marker

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow's signature
        """Look once, then wait in the triggerer.

        Raises:
            AirflowFailException: there is no such bucket, or no access to it.
        """
        wanted = self._wanted()
        try:
            lack = readiness.look(wanted, self.aws_conn_id)
        except ClientError as error:
            sentence = readiness.refusal(error, wanted)
            if sentence is None:
                raise
            raise AirflowFailException(sentence) from error
        if lack:
            self._defer(wanted, lack)

    def _wanted(self) -> readiness.Readiness:
        return readiness.Readiness(self.bucket, self.prefix, float(self.quiet_minutes), self.marker or None)

    def _defer(self, wanted: readiness.Readiness, lack: readiness.NotReady) -> None:
        wait = timedelta(minutes=float(self.wait_minutes))
        self.log.info("%s yet: waiting up to %s.", lack.seen, wait)
        self.defer(
            trigger=ImagesTrigger(
                **asdict(wanted),
                deadline=(datetime.now(UTC) + wait).timestamp(),
                poke_interval=self.poke_interval,
                aws_conn_id=self.aws_conn_id,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002
        """Continue after the wait.

        Raises:
            AirflowFailException: S3 refused to tell.
            AirflowSensorTimeout: what is wanted did not come in time.
        """
        if event["status"] == "refused":
            raise AirflowFailException(event["message"])
        if event["status"] == "timeout":
            raise AirflowSensorTimeout(
                f"{event['seen']} within {self.wait_minutes} minutes: {event['way_out']}, "
                "or wait longer with `wait_minutes`."
            )
