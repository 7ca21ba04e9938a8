"""Sensors: waiting for images and for a cluster, each with an end and with a sentence when it ends badly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.sensors.emr import EmrJobFlowSensor
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.amazon.aws.triggers.emr import EmrCreateJobFlowTrigger
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSensorTimeout
from botocore.exceptions import ClientError

from fruits_airflow import templates
from fruits_airflow.aws import patience, s3
from fruits_airflow.diagnosis import ENDED_STATES, doctor
from fruits_airflow.triggers import S3KeyDeadlineTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

LONGEST_START_S = 30 * 60
READY_STATES = ("RUNNING", "WAITING")


class ImagesSensor(S3KeySensor):
    """Waits until a bucket holds at least one object below a prefix.

    Args:
        bucket: the bucket's name (templated); the run's by default.
        prefix: the prefix, empty or ending in "/" (templated); the run's by default.
        wait_minutes: how long to wait for the first image (templated); the run's parameter by default.
        poke_interval: seconds between two looks.
        kwargs: as for `S3KeySensor`.
    """

    template_fields: Sequence[str] = (*S3KeySensor.template_fields, "prefix", "wait_minutes")

    def __init__(
        self,
        *,
        bucket: Any = templates.bucket,
        prefix: Any = templates.image_prefix,
        wait_minutes: Any = "{{ params.wait_minutes }}",
        poke_interval: float = 5,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("doc_md", "Waits for the first image in the triggerer, at most `wait_minutes`.")
        super().__init__(
            bucket_name=bucket,
            bucket_key="",
            wildcard_match=True,
            deferrable=True,
            poke_interval=poke_interval,
            **kwargs,
        )
        self.prefix = prefix
        self.wait_minutes = wait_minutes

    def execute(self, context: Context) -> None:
        """Look once, then wait in the triggerer.

        Raises:
            AirflowFailException: there is no such bucket, or no access to it.
        """
        self.bucket_key = f"{self.prefix}?*"  # at least one character: a console's folder marker is no image
        try:
            super().execute(context)
        except ClientError as error:
            raise AirflowFailException(self._explanation(error)) from error

    def _explanation(self, error: ClientError) -> str:
        code = error.response.get("Error", {}).get("Code", "")
        if code in {"NoSuchBucket", "404"}:
            return (
                f"There is no bucket {self.bucket_name!r}: create it, or set the parameter `bucket` "
                "or the variable FRUITS_BUCKET to the one that holds the images."
            )
        return f"S3 refused to list s3://{self.bucket_name}/{self.prefix} ({code}): {error}"

    def _defer(self) -> None:
        wait = timedelta(minutes=float(self.wait_minutes))
        self.log.info("No image below s3://%s/%s yet: waiting up to %s.", self.bucket_name, self.prefix, wait)
        self.defer(
            trigger=S3KeyDeadlineTrigger(
                deadline=(datetime.now(UTC) + wait).timestamp(),
                bucket_name=self.bucket_name,
                bucket_key=self.bucket_key,
                wildcard_match=True,
                aws_conn_id=self.aws_conn_id,
                botocore_config=self.botocore_config,
                poke_interval=self.poke_interval,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Continue after the wait.

        Raises:
            AirflowSensorTimeout: no image came in time.
        """
        if event["status"] == "timeout":
            raise AirflowSensorTimeout(
                f"No image came to s3://{self.bucket_name}/{self.prefix} within {self.wait_minutes} minutes: upload "
                "images there, or set the parameters `bucket` and `image_prefix`, or wait longer with `wait_minutes`."
            )
        super().execute_complete(context, event)


class ClusterReadySensor(EmrJobFlowSensor):
    """Waits until a cluster takes steps; fails with EMR's reason when it ends instead.

    The provider's deferrable sensor waits for the end of a cluster, and its `job_flow_waiting` waiter takes an ended
    one for a ready one. So the waiter only tells when to look again, and the look decides.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(target_states=READY_STATES, failed_states=ENDED_STATES, deferrable=True, **kwargs)

    def poke(self, context: Context) -> bool:
        """Look once.

        Raises:
            AirflowFailException: the cluster ended; another try would find it ended too.
        """
        try:
            ready: bool = super().poke(context)
        except AirflowException as error:
            why = doctor(self.hook.conn, s3(aws_conn_id=self.aws_conn_id), self.job_flow_id).of_cluster()
            raise AirflowFailException(f"The cluster ended before it was ready. {why}") from error
        return ready

    def execute(self, context: Context) -> None:
        """Look once, then wait in the triggerer."""
        if self.poke(context):
            return
        self.defer(
            trigger=EmrCreateJobFlowTrigger(
                job_flow_id=self.job_flow_id,
                aws_conn_id=self.aws_conn_id,
                botocore_config=self.botocore_config,
                **patience(LONGEST_START_S),
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Look again.

        Raises:
            AirflowException: it is not ready after the longest wait.
        """
        if not self.poke(context):
            raise AirflowException(f"Cluster {self.job_flow_id} is not ready: {(event or {}).get('message')}")
